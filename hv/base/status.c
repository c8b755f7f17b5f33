#include "hv/base/status.h"

#define STATUS_CASE(name, value, when) \
    case name:                         \
        return #name;

const char *hv_status_name(hv_status_t status)
{
    switch (status) {
        HV_STATUS_LIST(STATUS_CASE)
    default:
        return "HV_E_?";
    }
}
