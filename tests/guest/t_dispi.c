/*
 * bochs-display, as QEMU's docs/specs/standard-vga.rst describes it: the same checks run on QEMU's own and on ours. Where a
 * check takes more than one answer, it says why.
 */
#include "tests/guest/pci.h"

#define DISPI_VENDOR  0x1234u
#define DISPI_DEVICE  0x1111u
#define CLASS_DISPLAY 0x0380u /* "other": QEMU's VGA has the same ids, and another class */
#define REGISTERS     0x1000u
#define EDID_BYTES    256u
#define EDID_BLOCK    128u
#define DISPI(index)  (0x500u + 2u * (index))
#define DISPI_END     0x516u
#define QEXT_BYTES    0x600u
#define QEXT_ORDER    0x604u
#define ORDER_LITTLE  0x1e1e1e1eu
#define ORDER_BIG     0xbebebebeu
#define ID_VALUE      0xb0c5u
#define UNIT          0x10000ull /* of the amount of memory that is told */
#define SAMPLE        (UNIT / 4)
#define ENABLED       0x01u
#define LINEAR        0x40u

enum dispi {
    ID,
    XRES,
    YRES,
    BPP,
    ENABLE,
    BANK,
    VIRT_WIDTH,
    VIRT_HEIGHT,
    X_OFFSET,
    Y_OFFSET,
    MEMORY,
    DISPI_COUNT
};
static const char *const names[] = {
    "id",         "xres",        "yres",     "bpp",      "enable", "bank",
    "virt_width", "virt_height", "x_offset", "y_offset", "memory",
};

static struct pci_function display;
static uint16_t first[DISPI_COUNT]; /* what the registers held when nobody had written them */
static uint64_t frame_bytes;

static uint64_t get(unsigned index)
{
    return load(GVA_DISPI + DISPI(index), 2);
}

static void put(unsigned index, uint64_t value)
{
    store(GVA_DISPI + DISPI(index), 2, value);
}

static void look(void)
{
    for (unsigned n = 0; pci_find(&display, DISPI_VENDOR, DISPI_DEVICE, n); n++)
        if (config_get(&display, CFG_REVISION + 2, 2) == CLASS_DISPLAY)
            break;
    if (!display.present)
        return;
    frame_bytes = display.bar[0].bytes;
    bar_show(&display, 2, GVA_DISPI, REGISTERS, PAGE, PAT_UC);
    for (unsigned r = 0; r < DISPI_COUNT; r++)
        first[r] = (uint16_t)get(r);
}

static bool ready(void)
{
    static bool looked;

    if (!looked) {
        looked = true;
        look();
    }
    if (!display.present)
        skip("no bochs-display device");
    return display.present;
}

static void identity(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    expect_eq("revision and class", config_get(&display, CFG_REVISION, 4), 0x03800002);
    expect_eq("header type", config_get(&display, CFG_HEADER_TYPE, 1), 0);
    expect_eq("subsystem", config_get(&display, CFG_SUBSYSTEM, 4), 0x11001af4);
    expect(frame_bytes >= 4 * 1048576 && (frame_bytes & (frame_bytes - 1)) == 0,
           "BAR0 is a power of two of at least 4 MiB");
    expect(!display.bar[0].io && !display.bar[0].wide && display.bar[0].prefetchable,
           "BAR0 is 32-bit memory that is prefetchable");
    expect_eq("bytes of BAR2", display.bar[2].bytes, REGISTERS);
    expect(!display.bar[2].io && !display.bar[2].wide && !display.bar[2].prefetchable,
           "BAR2 is 32-bit memory that is not prefetchable");
    for (unsigned bar = 1; bar < PCI_BARS; bar += bar == 1 ? 2 : 1)
        expect_eq("another BAR", display.bar[bar].bytes, 0);
}

static void reset_values(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    for (unsigned r = 0; r < DISPI_COUNT; r++)
        if (!expect_eq(names[r], first[r],
                       r == ID       ? ID_VALUE
                       : r == MEMORY ? frame_bytes / UNIT
                                     : 0))
            return;
}

/* Each is sixteen plain bits: what they mean together is looked at only when a picture is made of it. */
static void writable(unsigned r)
{
    static const uint16_t values[] = {0xffff, 0x5aa5, 0x1234, 0};

    if (!ready())
        return;
    for (unsigned v = 0; v < COUNT_OF(values); v++) {
        put(r, values[v]);
        expect_eq("read back", get(r),
                  r == ID       ? ID_VALUE
                  : r == MEMORY ? frame_bytes / UNIT
                                : values[v]);
    }
    for (unsigned other = 1; other < MEMORY; other++)
        expect_eq(names[other], get(other), 0);
}

static void name_writable(char *out, unsigned r)
{
    format_text(out, NAME_ROOM, "register %s: %s", names[r],
                r == ID || r == MEMORY ? "read-only" : "all its bits, and no other's");
}

static const struct {
    uint16_t width, height, virt_width, virt_height, x, y;
} modes[] = {
    {1024, 768, 1024, 768, 0, 0}, {800, 600, 1024, 1200, 0, 600},  {640, 480, 800, 600, 100, 17},
    {64, 64, 64, 64, 0, 0},       {1280, 800, 1280, 1600, 0, 800}, {1024, 768, 0, 0, 0, 0},
};

static void mode_set(unsigned i)
{
    const uint16_t expected[MEMORY] = {
        ID_VALUE, modes[i].width,      modes[i].height,      32,         ENABLED | LINEAR,
        0,        modes[i].virt_width, modes[i].virt_height, modes[i].x, modes[i].y};

    if (!ready())
        return;
    put(ENABLE, 0);
    for (unsigned r = XRES; r < MEMORY; r++)
        if (r != ENABLE)
            put(r, expected[r]);
    put(ENABLE, expected[ENABLE]);
    for (unsigned r = ID; r < MEMORY; r++)
        expect_eq(names[r], get(r), expected[r]);
    put(ENABLE, 0);
    expect_eq("width stays when it is off", get(XRES), modes[i].width);
    for (unsigned r = XRES; r < MEMORY; r++)
        put(r, 0);
}

static void name_mode(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "mode %ux%u in %ux%u from %u, %u", (unsigned)modes[i].width,
                (unsigned)modes[i].height, (unsigned)modes[i].virt_width,
                (unsigned)modes[i].virt_height, (unsigned)modes[i].x, (unsigned)modes[i].y);
}

static void four_bytes(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    put(XRES, 0x1122);
    put(YRES, 0x3344);
    put(BPP, 0x5566);
    expect_eq("id and xres", load(GVA_DISPI + DISPI(ID), 4), 0x11220000 | ID_VALUE);
    expect_eq("xres and yres", load(GVA_DISPI + DISPI(XRES), 4) & 0xffff, 0x1122);
    expect_eq("yres and bpp", load(GVA_DISPI + DISPI(YRES), 4), 0x55663344);
    store(GVA_DISPI + DISPI(YRES), 4, 0x778899aa);
    expect_eq("yres", get(YRES), 0x99aa);
    expect_eq("bpp", get(BPP), 0x7788);
    for (unsigned r = XRES; r < BPP + 1; r++)
        put(r, 0);
}

/*
 * The registers are words. QEMU's memory core widens a byte to the word that it is in: either byte reads as the low one, and
 * a byte that is written to becomes the word. A device that keeps bytes apart is right as well.
 */
static void bytes(unsigned i)
{
    uint64_t high, word;

    (void)i;
    if (!ready())
        return;
    put(XRES, 0x1234);
    expect_eq("low byte", load(GVA_DISPI + DISPI(XRES), 1), 0x34);
    high = load(GVA_DISPI + DISPI(XRES) + 1, 1);
    expect(high == 0x12 || high == 0x34, "high byte");
    store(GVA_DISPI + DISPI(XRES), 1, 0x56);
    word = get(XRES);
    expect(word == 0x1256 || word == 0x56, "after a byte was written");
    expect_eq("the register beside it", get(YRES), 0);
    put(XRES, 0);
}

static void nobody_s(unsigned i)
{
    static const unsigned offsets[] = {0x100, 0x3fc,         0x400,        0x410, 0x420,
                                       0x4fc, DISPI_END + 2, 0x520,        0x5fc, 0x608,
                                       0x700, 0x800,         REGISTERS - 4};

    (void)i;
    if (!ready())
        return;
    for (unsigned o = 0; o < COUNT_OF(offsets) && !failed(); o++) {
        store(GVA_DISPI + offsets[o], 4, 0x12345678);
        if (!expect_eq("ones", load(GVA_DISPI + offsets[o], 4), 0xffffffff) ||
            !expect_eq("ones", load(GVA_DISPI + offsets[o], 2), 0xffff) ||
            !expect_eq("ones", load(GVA_DISPI + offsets[o], 1), 0xff))
            say("# at offset 0x%x\n", offsets[o]);
    }
    expect_eq("behind the last register", load(GVA_DISPI + DISPI_END, 2), 0xffff);
}

static void extended(unsigned i)
{
    (void)i;
    if (!ready())
        return;
    expect_eq("bytes", load(GVA_DISPI + QEXT_BYTES, 4), 8);
    store(GVA_DISPI + QEXT_BYTES, 4, 0x12345678);
    expect_eq("bytes, written to", load(GVA_DISPI + QEXT_BYTES, 4), 8);
    expect_eq("byte order", load(GVA_DISPI + QEXT_ORDER, 4), ORDER_LITTLE);
    store(GVA_DISPI + QEXT_ORDER, 4, 0x12345678);
    expect_eq("an unknown order", load(GVA_DISPI + QEXT_ORDER, 4), ORDER_LITTLE);
    store(GVA_DISPI + QEXT_ORDER, 4, ORDER_BIG);
    expect_eq("big", load(GVA_DISPI + QEXT_ORDER, 4), ORDER_BIG);
    store(GVA_DISPI + QEXT_ORDER, 4, 0);
    expect_eq("an unknown order", load(GVA_DISPI + QEXT_ORDER, 4), ORDER_BIG);
    store(GVA_DISPI + QEXT_ORDER, 4, ORDER_LITTLE);
    expect_eq("little", load(GVA_DISPI + QEXT_ORDER, 4), ORDER_LITTLE);
}

/* VESA E-EDID 1.4: the header, blocks whose bytes add up to 0, and a preferred mode that the frame buffer can hold. */
static void edid(unsigned i)
{
    uint64_t width, height, blocks, sum = 0;

    (void)i;
    if (!ready())
        return;
    expect_eq("header", load(GVA_DISPI, 4) | load(GVA_DISPI + 4, 4) << 32, 0x00ffffffffffff00);
    expect_eq("version", load(GVA_DISPI + 18, 2), 0x0401);
    blocks = 1 + load(GVA_DISPI + 126, 1);
    expect(blocks * EDID_BLOCK <= EDID_BYTES, "number of blocks");
    for (unsigned o = 0; o < blocks * EDID_BLOCK && !failed(); o++) {
        uint64_t byte = load(GVA_DISPI + o, 1);

        sum += byte;
        if (o % 4 == 0)
            expect_eq("four bytes", load(GVA_DISPI + o, 4) & 0xff, byte);
        if (o % 2 == 1)
            expect_eq("two bytes", load(GVA_DISPI + o - 1, 2) >> 8, byte);
        if (o % EDID_BLOCK == EDID_BLOCK - 1)
            expect_eq("sum of a block", sum & 0xff, 0);
    }
    expect(load(GVA_DISPI + 54, 2) != 0, "the first descriptor is a timing");
    width = load(GVA_DISPI + 56, 1) | (load(GVA_DISPI + 58, 1) & 0xf0) << 4;
    height = load(GVA_DISPI + 59, 1) | (load(GVA_DISPI + 61, 1) & 0xf0) << 4;
    expect(width >= 640 && height >= 480 && width * height * 4 <= frame_bytes, "preferred mode");
    store(GVA_DISPI, 1, 0x77);
    store(GVA_DISPI + 8, 4, ~0u);
    expect_eq("header after a write", load(GVA_DISPI, 4), 0xffffff00);
}

/* ---- the frame buffer ---- */

static uint64_t pixel(uint64_t offset, unsigned seed)
{
    return (uint32_t)((offset >> 2) * 2654435761u + seed);
}

static void draw(uint64_t gva, unsigned seed)
{
    for (uint64_t o = 0; o < frame_bytes; o += SAMPLE)
        store(gva + o, 4, pixel(o, seed));
    store(gva + frame_bytes - 4, 4, pixel(frame_bytes - 4, seed));
    __asm__ volatile("sfence" ::: "memory");
}

static bool drawn(const char *what, uint64_t gva, unsigned seed)
{
    for (uint64_t o = 0; o < frame_bytes; o += SAMPLE)
        if (!expect_eq(what, load(gva + o, 4), pixel(o, seed)))
            return false;
    return expect_eq(what, load(gva + frame_bytes - 4, 4), pixel(frame_bytes - 4, seed));
}

static void show_frame(uint64_t gva, unsigned type)
{
    bar_show(&display, 0, gva, frame_bytes < 2 * HUGE / 64 ? frame_bytes : HUGE / 32, LARGE, type);
}

static const struct {
    const char *name;
    unsigned type;
} types[] = {{"UC", PAT_UC}, {"WC", PAT_WC}, {"UC-", 7}};

static void frame(unsigned i)
{
    unsigned other = (i + 1) % COUNT_OF(types);

    if (!ready())
        return;
    show_frame(GVA_FRAME, types[i].type);
    draw(GVA_FRAME, i);
    drawn("as it was drawn", GVA_FRAME, i);
    show_frame(GVA_FRAME, types[other].type);
    drawn("seen with another type", GVA_FRAME, i);
}

static void name_frame(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "the frame buffer through %s, seen through %s", types[i].name,
                types[(i + 1) % COUNT_OF(types)].name);
}

/* As drivers draw: rows of pixels by REP MOVS and STOS of every width, with tails. */
static void rows(unsigned i)
{
    static uint8_t row[1024] __attribute__((aligned(64)));
    uint64_t to = GVA_FRAME + 4096 + 12, from = (uint64_t)(uintptr_t)row, count = 255, tail = 3;

    (void)i;
    if (!ready())
        return;
    for (unsigned k = 0; k < sizeof(row); k++)
        row[k] = (uint8_t)(k * 7 + 1);
    show_frame(GVA_FRAME, PAT_WC);
    store(to + 1023, 1, 0xee);
    __asm__ volatile("rep movsl\n\tmov %3, %2\n\trep movsb"
                     : "+D"(to), "+S"(from), "+c"(count)
                     : "r"(tail)
                     : "memory");
    to = GVA_FRAME + 4096 + 12;
    for (unsigned k = 0; k < 1023; k++)
        if (!expect_eq("a byte of the row", load(to + k, 1), row[k]))
            return;
    expect_eq("the byte behind", load(to + 1023, 1), 0xee);
    to = GVA_FRAME + 8192;
    count = 512;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0x00336699) : "memory");
    for (uint64_t o = 0; o < 2048; o += 8)
        if (!expect_eq("two filled pixels", load(GVA_FRAME + 8192 + o, 8), 0x0033669900336699))
            return;
}

static void frame_moves(unsigned i)
{
    uint64_t home, away;

    (void)i;
    if (!ready())
        return;
    home = display.bar[0].base;
    away = free_address(frame_bytes);
    show_frame(GVA_FRAME, PAT_WC);
    draw(GVA_FRAME, 9);
    command_set(&display, COMMAND_MEMORY, false);
    expect_nobody("decode off", GVA_FRAME, 4);
    store(GVA_FRAME, 4, 0);
    expect_nobody("registers too", GVA_DISPI + DISPI(ID), 2);
    bar_set(&display, 0, away);
    show_frame(GVA_MOVED, PAT_WC);
    expect_nobody("where it was", GVA_FRAME, 4);
    drawn("where it is", GVA_MOVED, 9);
    store(GVA_MOVED, 4, 0x31415926);
    bar_set(&display, 0, home); /* with decode on */
    expect_eq("home again", load(GVA_FRAME, 4), 0x31415926);
    expect_nobody("where it was", GVA_MOVED, 4);
    unmap(GVA_MOVED, LARGE, LARGE);
    expect_eq("registers", get(ID), ID_VALUE);
}

static void registers_move(unsigned i)
{
    uint64_t home, away;

    (void)i;
    if (!ready())
        return;
    home = display.bar[2].base;
    away = free_address(LARGE);
    put(YRES, 0x321);
    bar_set(&display, 2, away); /* with decode on */
    bar_show(&display, 2, GVA_MOVED, REGISTERS, PAGE, PAT_UC);
    expect_nobody("where it was", GVA_DISPI + DISPI(YRES), 2);
    expect_eq("where it is", load(GVA_MOVED + DISPI(YRES), 2), 0x321);
    bar_set(&display, 2, home);
    expect_eq("home again", get(YRES), 0x321);
    put(YRES, 0);
    unmap(GVA_MOVED, PAGE, PAGE);
}

static const struct check list[] = {
    {"dispi", "ids, class, BARs", NULL, 0, false, identity},
    {"dispi", "first values of the registers", NULL, 0, false, reset_values},
    {"dispi", NULL, name_writable, DISPI_COUNT, false, writable},
    {"dispi", NULL, name_mode, COUNT_OF(modes), false, mode_set},
    {"dispi", "four bytes are two registers", NULL, 0, false, four_bytes},
    {"dispi", "bytes of a register", NULL, 0, false, bytes},
    {"dispi", "what nobody answers for reads ones", NULL, 0, false, nobody_s},
    {"dispi", "extended registers: bytes and byte order", NULL, 0, false, extended},
    {"dispi", "EDID: header, sums, preferred mode", NULL, 0, false, edid},
    {"dispi", NULL, name_frame, COUNT_OF(types), false, frame},
    {"dispi", "rows of pixels by REP MOVS and REP STOS", NULL, 0, false, rows},
    {"dispi", "the frame buffer moves, and the picture stays", NULL, 0, false, frame_moves},
    {"dispi", "the registers move with decode on", NULL, 0, false, registers_move},
};
const struct check_list checks_dispi = {list, COUNT_OF(list)};
