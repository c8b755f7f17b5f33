#include "hv/vm/platform.h"

#include "hv/base/string.h"

#define UART_PORTS     8u
#define UART_IIR       2u
#define UART_LCR       3u
#define UART_LSR       5u
#define UART_MSR       6u
#define UART_SCR       7u

#define LCR_DLAB       0x80u
#define IIR_NO_PENDING 0xc1u /* FIFOs enabled, nothing pending */
#define LSR_IDLE       0x60u /* transmitter empty and holding register empty */
#define MSR_CONNECTED  0xb0u /* CTS, DSR, DCD */

#define PREFIX         "guest| "
#define PREFIX_BYTES   (sizeof(PREFIX) - 1)

/* The guest's UART: registers that read back, and the line so far. Owner: its VM. */
struct guest_uart {
    uint8_t reg[UART_PORTS];
    uint8_t divisor[2]; /* behind DLAB; nothing runs at any speed */
    unsigned used;
    char line[LOG_LINE_BYTES];
};

static struct guest_uart guest_uart; /* one VM in this version */

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

hv_status_t platform_create(struct vm *vm)
{
    const struct vm_port uart = {PLATFORM_UART_PORT, UART_PORTS, uart_in, uart_out, &guest_uart};
    const struct vm_port debug_exit = {PLATFORM_DEBUG_EXIT_PORT, 1, exit_in, exit_out, vm};
    hv_status_t status;

    memcpy(guest_uart.line, PREFIX, PREFIX_BYTES);
    guest_uart.used = PREFIX_BYTES;
    status = vm_port_register(vm, &uart);
    return status == HV_OK ? vm_port_register(vm, &debug_exit) : status;
}

void platform_flush(struct vm *vm)
{
    (void)vm;
    if (guest_uart.used != PREFIX_BYTES)
        flush_line(&guest_uart);
}
