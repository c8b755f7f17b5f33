/* Commands on events, doorbells and the length of accesses. */
#include "drivers/virtual/lab_commands.h"

/*
 * What the guest left for this: any command, so that whatever may be done inside an exit can be tried. The command that is
 * under way, if there is one, does not notice.
 */
static void run_hook(void *context)
{
    struct lab *lab = context;
    struct lab_hook *hook = &lab->hook;
    hv_status_t status = lab->status;
    uint64_t arg[LAB_ARGS];
    uint64_t result[LAB_RESULTS];

    hook->runs++;
    if (hook->is_running || hook->command == 0)
        return;
    memcpy(arg, lab->arg, sizeof(arg));
    memcpy(result, lab->result, sizeof(result));
    memcpy(lab->arg, hook->arg, sizeof(hook->arg));
    hook->is_running = true;
    lab_command(lab, hook->command);
    hook->is_running = false;
    hook->status = lab->status;
    hook->result = lab->result[0];
    memcpy(lab->arg, arg, sizeof(arg));
    memcpy(lab->result, result, sizeof(result));
    lab->status = status;
}

hv_status_t lab_on_signal(struct lab *lab)
{
    struct lab_hook *hook = &lab->hook;

    lab->result[0] = hook->runs;
    lab->result[1] = (uint64_t)(int64_t)hook->status;
    lab->result[2] = hook->result;
    hook->runs = 0;
    hook->status = HV_OK;
    hook->command = u32_arg(lab, 0);
    memcpy(hook->arg, &lab->arg[1], sizeof(hook->arg));
    return HV_OK;
}

hv_status_t lab_event_create(struct lab *lab)
{
    hv_handle_t *place = lab_free_handle(lab);
    hv_status_t status;

    if (!place)
        return HV_E_QUOTA;
    status = hv_event_create((enum hv_event_kind)u32_arg(lab, 0),
                             lab->arg[1] != 0 ? run_hook : NULL, lab, place);
    if (status == HV_OK)
        lab->result[0] = *place;
    return status;
}

hv_status_t lab_event_take(struct lab *lab)
{
    return hv_event_take(handle_arg(lab, 0), &lab->result[0]);
}

hv_status_t lab_event_signal(struct lab *lab)
{
    return hv_event_signal(handle_arg(lab, 0));
}

hv_status_t lab_doorbell_register(struct lab *lab)
{
    return hv_doorbell_register(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], lab->arg[3],
                                lab->arg[4], handle_arg(lab, 5));
}

hv_status_t lab_doorbell_unregister(struct lab *lab)
{
    return hv_doorbell_unregister(device_arg(lab, 0), bar_arg(lab, 1), lab->arg[2], lab->arg[3],
                                  lab->arg[4]);
}

hv_status_t lab_access_bytes(struct lab *lab)
{
    return hv_bar_set_access_bytes(device_arg(lab, 0), bar_arg(lab, 1), u32_arg(lab, 2));
}
