#include "boot/uefi.h"

#include "drivers/host/uart.h"
#include "hv/base/log.h"
#include "hv/base/string.h"
#include "hv/x86/cpu.h"

#define MAP_SLACK_DESCRIPTORS 16u
#define PATH_UNITS            260u
#define STOP_SECONDS          3u

static EFI_HANDLE image_handle;
static EFI_SYSTEM_TABLE *st;
static EFI_BOOT_SERVICES *bs;

static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID file_info_guid = EFI_FILE_INFO_ID;
static EFI_GUID gop_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
static EFI_GUID acpi_20_guid = ACPI_20_TABLE_GUID;
static EFI_GUID acpi_guid = ACPI_TABLE_GUID;
/* PI 1.7 volume 2 "MP Services Protocol"; gnu-efi does not know it. */
static EFI_GUID mp_guid = {
    0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};

struct mp_services {
    EFI_STATUS(EFIAPI *get_number_of_processors)
    (struct mp_services *self, UINTN *all, UINTN *enabled);
};

void uefi_init(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    image_handle = image;
    st = system;
    bs = system->BootServices;
    bs->SetWatchdogTimer(0, 0, 0, NULL);
}

void uefi_stop(const char *fmt, ...)
{
    const UINTN second = 1000000;
    char text[LOG_LINE_BYTES];
    CHAR16 wide[LOG_LINE_BYTES + 2];
    unsigned n = 0;
    va_list args;

    va_start(args, fmt);
    vformat(text, sizeof(text), fmt, args);
    va_end(args);
    log_line("boot", "%s", text);
    for (; text[n]; n++)
        wide[n] = (CHAR16)(unsigned char)text[n];
    wide[n++] = '\r';
    wide[n++] = '\n';
    wide[n] = 0;
    st->ConOut->OutputString(st->ConOut, wide);
    bs->Stall(STOP_SECONDS * second);
    bs->Exit(image_handle, EFI_LOAD_ERROR, 0, NULL);
    halt_forever();
}

void *uefi_pages(uint64_t pages)
{
    EFI_PHYSICAL_ADDRESS at = 0;

    if (bs->AllocatePages(AllocateAnyPages, EfiLoaderData, pages, &at) != EFI_SUCCESS)
        uefi_stop("out of memory for %llu pages: give the machine more", (unsigned long long)pages);
    memset((void *)(uintptr_t)at, 0, pages * PAGE_BYTES);
    return (void *)(uintptr_t)at;
}

static EFI_LOADED_IMAGE *loaded_image(void)
{
    EFI_LOADED_IMAGE *image;

    if (bs->HandleProtocol(image_handle, &loaded_image_guid, (void **)&image) != EFI_SUCCESS)
        uefi_stop("the firmware does not say where the image is: update it");
    return image;
}

void uefi_image(uint64_t *base, uint64_t *bytes)
{
    EFI_LOADED_IMAGE *image = loaded_image();

    *base = (uint64_t)(uintptr_t)image->ImageBase;
    *bytes = image->ImageSize;
}

static EFI_FILE_HANDLE open_file(const char *path)
{
    EFI_FILE_IO_INTERFACE *volume;
    EFI_FILE_HANDLE root, file;
    CHAR16 wide[PATH_UNITS];
    unsigned n = 0;

    if (bs->HandleProtocol(loaded_image()->DeviceHandle, &file_system_guid, (void **)&volume) !=
            EFI_SUCCESS ||
        volume->OpenVolume(volume, &root) != EFI_SUCCESS)
        uefi_stop(
            "the volume that the image came from cannot be read: boot from a FAT file system");
    while (n < PATH_UNITS - 1 && path[n]) {
        wide[n] = (CHAR16)(unsigned char)path[n];
        n++;
    }
    wide[n] = 0;
    if (root->Open(root, &file, wide, EFI_FILE_MODE_READ, 0) != EFI_SUCCESS)
        uefi_stop("%s: not found on the boot volume: put it there", path);
    return file;
}

struct boot_file uefi_read_file(const char *path)
{
    EFI_FILE_HANDLE file = open_file(path);
    union {
        EFI_FILE_INFO info;
        uint8_t room[sizeof(EFI_FILE_INFO) + PATH_UNITS * sizeof(CHAR16)];
    } buffer;
    UINTN bytes = sizeof(buffer);
    struct boot_file out;

    if (file->GetInfo(file, &file_info_guid, &bytes, &buffer) != EFI_SUCCESS)
        uefi_stop("%s: its size cannot be read: check the file system", path);
    if (buffer.info.Attribute & EFI_FILE_DIRECTORY)
        uefi_stop("%s: is a directory: name a file", path);
    out.size_bytes = bytes = buffer.info.FileSize;
    out.bytes = uefi_pages(pages_of(bytes + 1));
    if (file->Read(file, &bytes, out.bytes) != EFI_SUCCESS || bytes != out.size_bytes)
        uefi_stop("%s: cannot be read: check the file system", path);
    file->Close(file);
    return out;
}

unsigned uefi_cpu_count(void)
{
    struct mp_services *mp;
    UINTN all, enabled;

    if (bs->LocateProtocol(&mp_guid, NULL, (void **)&mp) != EFI_SUCCESS ||
        mp->get_number_of_processors(mp, &all, &enabled) != EFI_SUCCESS)
        return 1;
    return (unsigned)enabled;
}

uint64_t uefi_acpi_rsdp(void)
{
    uint64_t found = 0;

    for (UINTN i = 0; i < st->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *table = &st->ConfigurationTable[i];

        if (memcmp(&table->VendorGuid, &acpi_20_guid, sizeof(acpi_20_guid)) == 0)
            return (uint64_t)(uintptr_t)table->VendorTable;
        if (memcmp(&table->VendorGuid, &acpi_guid, sizeof(acpi_guid)) == 0)
            found = (uint64_t)(uintptr_t)table->VendorTable;
    }
    return found;
}

static enum screen_format screen_format(EFI_GRAPHICS_PIXEL_FORMAT format)
{
    switch ((unsigned)format) {
    case PixelRedGreenBlueReserved8BitPerColor:
        return SCREEN_RGB;
    case PixelBlueGreenRedReserved8BitPerColor:
        return SCREEN_BGR;
    case PixelBltOnly: /* drawn on by calls of the firmware's only */
        return SCREEN_NONE;
    default:
        return SCREEN_OTHER;
    }
}

struct screen_mode uefi_screen(void)
{
    struct screen_mode screen = {.format = SCREEN_NONE};
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;

    if (bs->LocateProtocol(&gop_guid, NULL, (void **)&gop) != EFI_SUCCESS || !gop->Mode ||
        !gop->Mode->Info)
        return screen;
    screen.base = gop->Mode->FrameBufferBase;
    screen.size_bytes = gop->Mode->FrameBufferSize;
    screen.width = gop->Mode->Info->HorizontalResolution;
    screen.height = gop->Mode->Info->VerticalResolution;
    screen.stride_pixels = gop->Mode->Info->PixelsPerScanLine;
    screen.format = screen_format(gop->Mode->Info->PixelFormat);
    return screen;
}

/* The firmware's memory map of this moment. `room` is the buffer's size; UEFI wants to be asked for it. */
struct map {
    void *buffer;
    UINTN room, bytes, key, stride;
    UINT32 version;
};

static EFI_STATUS map_read(struct map *map)
{
    map->bytes = map->room;
    return bs->GetMemoryMap(&map->bytes, map->buffer, &map->key, &map->stride, &map->version);
}

static void map_create(struct map *map)
{
    *map = (struct map){0};
    (void)map_read(map); /* fails, and says the size */
    map->room = ALIGN_UP(map->bytes + MAP_SLACK_DESCRIPTORS * map->stride, PAGE_BYTES);
    map->buffer = uefi_pages(map->room / PAGE_BYTES);
}

uint64_t uefi_ram_end(void)
{
    static struct memmap_run run[BOOT_MAX_RUNS];
    struct map map;
    unsigned count;
    uint64_t end = 0;

    map_create(&map);
    if (map_read(&map) != EFI_SUCCESS)
        uefi_stop("the firmware's memory map cannot be read: update the firmware");
    count = memmap_digest(map.buffer, map.bytes, map.stride, run, BOOT_MAX_RUNS);
    for (unsigned i = 0; i < count && i < BOOT_MAX_RUNS; i++)
        if (run[i].use != MEMMAP_FIRMWARE)
            end = MAX(end, run[i].base + run[i].pages * PAGE_BYTES);
    return end;
}

void uefi_exit_boot_services(struct boot_info *boot)
{
    const unsigned tries = 8;
    struct map map;
    EFI_STATUS status = EFI_NOT_READY;

    map_create(&map);
    for (unsigned i = 0; i < tries && status != EFI_SUCCESS; i++) {
        if (map_read(&map) != EFI_SUCCESS)
            break; /* after a first try nothing but these two services may be called: no uefi_stop() */
        boot->run_count =
            memmap_digest(map.buffer, map.bytes, map.stride, boot->run, BOOT_MAX_RUNS);
        if (boot->run_count > BOOT_MAX_RUNS)
            break;
        status = bs->ExitBootServices(image_handle, map.key);
    }
    if (status == EFI_SUCCESS)
        return;
    log_line("boot", boot->run_count > BOOT_MAX_RUNS
                         ? "the firmware's memory map has too many runs: it cannot be used"
                         : "the firmware does not let go of boot services: update it");
    halt_forever();
}
