#include "hv/vm/platform.h"

#include "hv/base/bits.h"
#include "hv/base/string.h"

#define UART_IIR       2u
#define UART_LCR       3u
#define UART_LSR       5u
#define UART_MSR       6u
#define UART_SCR       7u

#define LCR_DLAB       0x80u
#define IIR_NO_PENDING 0xc1u /* FIFOs enabled, nothing pending */
#define LSR_IDLE       0x60u /* transmitter empty and holding register empty */
#define MSR_CONNECTED  0xb0u /* CTS, DSR, DCD */

#define RESET_SYSTEM   0x02u
#define RESET_CPU      0x04u
#define RESET_FULL     0x08u

#define SLEEP_TYPE     0x1cu
#define SLEEP_ENABLE   0x20u /* reads as zero */

#define PREFIX         "guest| "
#define PREFIX_BYTES   (sizeof(PREFIX) - 1)

/* The guest's UART: registers that read back, and the line so far. Owner: its VM. */
struct guest_uart {
    uint8_t reg[PLATFORM_UART_PORTS];
    uint8_t divisor[2]; /* behind DLAB; nothing runs at any speed */
    unsigned used;
    char line[LOG_LINE_BYTES];
};

/* What the reset and the sleep control register read as. Owner: its VM. */
struct guest_power {
    uint8_t reset, sleep;
};

static struct guest_uart guest_uart; /* one VM in this version */
static struct guest_power guest_power;

static void flush_line(struct guest_uart *uart)
{
    uart->line[uart->used] = '\n';
    log_sink(uart->line, uart->used + 1);
    uart->used = PREFIX_BYTES;
}

/* What would garble the console is shown as a question mark. */
static char printable(char byte)
{
    if ((byte >= ' ' && byte <= '~') || byte == '\t')
        return byte;
    return '?';
}

static void put(struct guest_uart *uart, char byte)
{
    if (byte == '\r')
        return;
    if (byte == '\n' || uart->used == sizeof(uart->line) - 1)
        flush_line(uart);
    if (byte != '\n')
        uart->line[uart->used++] = printable(byte);
}

static bool is_divisor(const struct guest_uart *uart, uint16_t offset)
{
    return offset < sizeof(uart->divisor) && (uart->reg[UART_LCR] & LCR_DLAB);
}

static uint32_t uart_in(void *owner, uint16_t offset, unsigned bytes)
{
    const struct guest_uart *uart = owner;

    if (bytes != 1)
        return ~0u;
    if (is_divisor(uart, offset))
        return uart->divisor[offset];
    switch (offset) {
    case 0:
        return 0; /* nothing is ever received */
    case UART_IIR:
        return IIR_NO_PENDING;
    case UART_LSR:
        return LSR_IDLE;
    case UART_MSR:
        return MSR_CONNECTED;
    default:
        return uart->reg[offset];
    }
}

static void uart_out(void *owner, uint16_t offset, unsigned bytes, uint32_t value)
{
    struct guest_uart *uart = owner;

    if (bytes != 1)
        return;
    if (is_divisor(uart, offset))
        uart->divisor[offset] = (uint8_t)value;
    else if (offset == 0)
        put(uart, (char)value);
    else
        uart->reg[offset] = (uint8_t)value;
}

static uint32_t exit_in(void *owner, uint16_t offset, unsigned bytes)
{
    (void)owner, (void)offset, (void)bytes;
    return ~0u;
}

static void exit_out(void *owner, uint16_t offset, unsigned bytes, uint32_t value)
{
    struct vm *vm = owner;

    (void)offset, (void)bytes;
    vm->exit_code = value;
    vm_stop(vm, NULL, VM_STOP_GUEST_EXIT);
}

/* ---- reset and power ---- */

static uint32_t reset_in(void *owner, uint16_t offset, unsigned bytes)
{
    (void)owner, (void)offset;
    return bytes == 1 ? guest_power.reset : ~0u;
}

/* Which kind of reset does not matter: all of them end the VM. */
static void reset_out(void *owner, uint16_t offset, unsigned bytes, uint32_t value)
{
    (void)offset;
    if (bytes != 1)
        return;
    guest_power.reset = (uint8_t)(value & (RESET_SYSTEM | RESET_FULL));
    if (value & RESET_CPU)
        vm_stop(owner, NULL, VM_STOP_RESET);
}

/* The status register only ever says that the machine did not wake from a sleep. */
static uint32_t sleep_in(void *owner, uint16_t offset, unsigned bytes)
{
    (void)owner;
    if (bytes != 1)
        return ~0u;
    return offset == 0 ? guest_power.sleep : 0;
}

static void sleep_out(void *owner, uint16_t offset, unsigned bytes, uint32_t value)
{
    if (bytes != 1 || offset != 0)
        return;
    guest_power.sleep = (uint8_t)(value & SLEEP_TYPE);
    if ((value & SLEEP_ENABLE) && FIELD_GET(SLEEP_TYPE, value) == PLATFORM_SLEEP_S5)
        vm_stop(owner, NULL, VM_STOP_POWER_OFF);
}

hv_status_t platform_create(struct vm *vm)
{
    const struct vm_port ports[] = {
        {PLATFORM_UART_PORT, PLATFORM_UART_PORTS, uart_in, uart_out, &guest_uart},
        {PLATFORM_DEBUG_EXIT_PORT, 1, exit_in, exit_out, vm},
        {PLATFORM_RESET_PORT, 1, reset_in, reset_out, vm},
        {PLATFORM_SLEEP_PORT, 2, sleep_in, sleep_out, vm},
    };
    hv_status_t status = HV_OK;

    memcpy(guest_uart.line, PREFIX, PREFIX_BYTES);
    guest_uart.used = PREFIX_BYTES;
    guest_power = (struct guest_power){0};
    for (unsigned i = 0; i < ARRAY_COUNT(ports) && status == HV_OK; i++)
        status = vm_port_register(vm, &ports[i]);
    return status;
}

void platform_flush(struct vm *vm)
{
    (void)vm;
    if (guest_uart.used != PREFIX_BYTES)
        flush_line(&guest_uart);
}
