/* The words of a device's line in the configuration. */
#include "hv/pci/device.h"

#include "hv/base/digits.h"

/*
 * Decimal, or hexadecimal behind 0x, to the end of the text; behind it K, M or G for KiB, MiB, GiB.
 */
static bool read_number(const char *text, uint64_t *number)
{
    static const char units[] = "KMG";
    const bool hex = text[0] == '0' && text[1] == 'x';
    uint64_t value, scale = 1;

    if (hex)
        text += 2;
    if (!digits_read(&text, hex ? 16 : 10, &value))
        return false;
    for (unsigned i = 0; *text && units[i]; i++)
        if (*text == units[i]) {
            scale = 1ull << (10 * (i + 1));
            text++;
            break;
        }
    if (*text || value > UINT64_MAX / scale)
        return false;
    *number = value * scale;
    return true;
}

static bool read_option(uint8_t *to, enum hv_option_kind kind, const char *value)
{
    size_t length;

    if (kind == HV_OPTION_FLAG) {
        if (*value == '\0')
            *(bool *)to = true;
        return *value == '\0';
    }
    if (*value++ != '=')
        return false;
    if (kind == HV_OPTION_NUMBER)
        return read_number(value, (uint64_t *)(void *)to);
    length = strlen(value);
    if (length == 0 || length >= HV_OPTION_TEXT_BYTES)
        return false;
    memcpy(to, value, length + 1);
    return true;
}

static bool take(uint8_t *context, const struct hv_option *options, uint32_t option_count,
                 const char *string)
{
    for (uint32_t i = 0; i < option_count; i++) {
        size_t length = strlen(options[i].key);

        if (strncmp(string, options[i].key, length) == 0 &&
            read_option(context + options[i].offset, options[i].kind, string + length))
            return true;
    }
    return false;
}

hv_status_t hv_options_read(void *context, const struct hv_option *options, uint32_t option_count,
                            uint32_t count, const char *const *strings)
{
    for (uint32_t i = 0; i < count; i++)
        if (!take(context, options, option_count, strings[i])) {
            log_line("pci", "option \"%s\" is not understood", strings[i]);
            return HV_E_INVALID_PARAMETER;
        }
    return HV_OK;
}
