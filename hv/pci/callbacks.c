/* Callbacks for what a device has nothing to do. */
#include "hv/pci/device.h"

hv_status_t hv_device_ready(void *context)
{
    (void)context;
    return HV_OK;
}

void hv_device_no_action(void *context)
{
    (void)context;
}

hv_status_t hv_device_no_options(void *context, uint32_t count, const char *const *strings)
{
    (void)context;
    for (uint32_t i = 0; i < count; i++)
        log_line("pci", "option \"%s\" is not understood: this device has none", strings[i]);
    return count == 0 ? HV_OK : HV_E_INVALID_PARAMETER;
}

hv_status_t hv_device_config_zero(void *context, uint32_t offset, uint32_t *value)
{
    (void)context;
    (void)offset;
    *value = 0;
    return HV_OK;
}

hv_status_t hv_device_config_ignore(void *context, uint32_t offset, uint32_t value)
{
    (void)context;
    (void)offset;
    (void)value;
    return HV_OK;
}
