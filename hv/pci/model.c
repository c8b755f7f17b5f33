/* Models: the devices that the image knows by name. */
#include "hv/pci/device.h"

#include "hv/base/digits.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/pci/bus.h"

#define PLACE_KEY "at="

/* The list that the linker makes of every HV_DEVICE_MODEL. */
#define HIDDEN __attribute__((visibility("hidden")))
extern const struct hv_device_model device_models_start[] HIDDEN;
extern const struct hv_device_model device_models_end[] HIDDEN;

const struct hv_device_model *model_next(const struct hv_device_model *model)
{
    model = model ? model + 1 : device_models_start;
    return model < device_models_end ? model : NULL;
}

const struct hv_device_model *model_find(const char *name)
{
    const struct hv_device_model *model = NULL;

    while ((model = model_next(model)) != NULL)
        if (strcmp(model->name, name) == 0)
            break;
    return model;
}

/* A decimal number up to `max`. */
static bool take_number(const char **text, unsigned max, uint8_t *number)
{
    uint64_t value;

    if (!digits_read(text, 10, &value) || value > max)
        return false;
    *number = (uint8_t)value;
    return true;
}

/* "<slot>" or "<slot>.<function>", to the end of the text. */
static bool parse_place(const char *text, struct hv_device_place *place)
{
    *place = (struct hv_device_place){0};
    if (!take_number(&text, PCI_SLOTS - 1, &place->slot) || place->slot == PCI_HOST_BRIDGE)
        return false;
    if (*text == '.') {
        text++;
        if (!take_number(&text, PCI_SLOT_FUNCTIONS - 1, &place->function))
            return false;
    }
    return *text == '\0';
}

/* The model's name, cut, and in front of its end a number that no other device has. */
static struct hv_guid make_id(const char *name, uint32_t number)
{
    const size_t room = sizeof(struct hv_guid) - sizeof(number);
    struct hv_guid id = {0};

    memcpy(id.byte, name, MIN(strlen(name), room));
    memcpy(id.byte + room, &number, sizeof(number));
    return id;
}

static hv_status_t alloc_context(const struct hv_device_model *model,
                                 struct device_request *request)
{
    uint64_t pages = pages_of(MAX(model->context_bytes, (uint64_t)sizeof(struct hv_device *)));
    hpa_t frame;
    hv_status_t status = frames_alloc(&hv_frames, pages, 1, &frame);

    if (status != HV_OK)
        return status;
    request->context = direct(frame);
    request->context_pages = pages;
    memset(request->context, 0, pages * PAGE_BYTES);
    return HV_OK;
}

hv_status_t hv_device_add(struct hv_device_host *host, const char *model, uint32_t string_count,
                          const char *const *strings, struct hv_device **device)
{
    static uint32_t made;
    const struct hv_device_model *found = model ? model_find(model) : NULL;
    struct device_request request = {.place = {HV_SLOT_ANY, 0}};
    struct hv_guid id;
    hv_status_t status;

    if (!host_is_known(host))
        return HV_E_INVALID_HANDLE;
    if (!found)
        return HV_E_INVALID_PARAMETER_2;
    if (string_count != 0 && strings && strncmp(strings[0], PLACE_KEY, strlen(PLACE_KEY)) == 0) {
        if (!parse_place(strings[0] + strlen(PLACE_KEY), &request.place))
            return HV_E_INVALID_PARAMETER_4;
        string_count--;
        strings++;
    }
    id = make_id(model, __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED));
    status = alloc_context(found, &request);
    if (status != HV_OK)
        return status;
    request.class_id = request.instance_id = &id; /* nobody asks for the class */
    request.ops = found->ops;
    request.string_count = string_count;
    request.strings = strings;
    return device_make(host, &request, device);
}
