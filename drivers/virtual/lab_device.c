/* Commands on interrupts, and on other devices that come and go while the guest runs. */
#include "drivers/virtual/lab_commands.h"

#define WORDS_OF_TEXT 2u
#define TEXT_BYTES    (WORDS_OF_TEXT * sizeof(uint64_t) + 1)
#define PLACE_BYTES   sizeof("at=4294967295.255")

hv_status_t lab_raise(struct lab *lab)
{
    return hv_interrupt_raise(device_arg(lab, 0), u32_arg(lab, 1));
}

hv_status_t lab_message(struct lab *lab)
{
    return hv_guest_msi_deliver(device_arg(lab, 0), lab->arg[1], u32_arg(lab, 2));
}

hv_status_t lab_device_add(struct lab *lab)
{
    char model[TEXT_BYTES] = "", option[TEXT_BYTES] = "", place[PLACE_BYTES];
    const char *string[2];
    uint32_t count = 0;
    unsigned i = 0;
    hv_status_t status;

    while (i < LAB_DEVICES && lab->added[i])
        i++;
    if (i == LAB_DEVICES)
        return HV_E_QUOTA;
    memcpy(model, &lab->arg[0], TEXT_BYTES - 1);
    memcpy(option, &lab->arg[3], TEXT_BYTES - 1);
    if (lab->arg[2] != LAB_PLACE_ANY) {
        format(place, sizeof(place), "at=%u.%u", (unsigned)(lab->arg[2] >> 8),
               (unsigned)(lab->arg[2] & 0xff));
        string[count++] = place;
    }
    if (option[0] != '\0')
        string[count++] = option;
    status = hv_device_add(inspect_host(lab->device), model, count, string, &lab->added[i]);
    if (status == HV_OK)
        lab->result[0] = LAB_SELECTOR_ADDED + i;
    return status;
}

hv_status_t lab_device_remove(struct lab *lab)
{
    hv_status_t status = hv_device_destroy(device_arg(lab, 0));

    if (status == HV_OK)
        lab->added[lab->arg[0] - LAB_SELECTOR_ADDED] = NULL;
    return status;
}
