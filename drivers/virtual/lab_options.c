/* The words of the lab's line in the configuration. */
#include "drivers/virtual/lab.h"

#include "hv/base/digits.h"
#include "hv/base/string.h"

#define MAX_BAR4_MIB (1u << 20)

/* The text after "key=", or NULL. */
static const char *option_value(const char *option, const char *key)
{
    size_t length = strlen(key);

    return strncmp(option, key, length) == 0 && option[length] == '=' ? option + length + 1 : NULL;
}

/* Digits to the end of the text; a base of 16 allows "0x". */
static bool parse_number(const char *text, unsigned base, uint64_t *number)
{
    if (base == 16 && text[0] == '0' && text[1] == 'x')
        text += 2;
    return digits_read(&text, base, number) && *text == '\0';
}

bool lab_parse_option(struct lab *lab, const char *option)
{
    const char *value = option_value(option, "bar4");
    uint64_t mib;

    if (value) {
        if (!parse_number(value, 10, &mib) || !IS_POW2(mib) || mib > MAX_BAR4_MIB)
            return false;
        lab->bar4_bytes = MIB(mib);
        return true;
    }
    value = option_value(option, "window_bytes");
    if (value)
        return parse_number(value, 16, &lab->window_bytes) && lab->window_bytes != 0;
    value = option_value(option, "window");
    lab->has_window = value && parse_number(value, 16, &lab->window);
    return lab->has_window;
}
