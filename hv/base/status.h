/*
 * Owns:     the one status type and every status value of the API.
 * Promises: 0 is success and negatives are errors; a call that returns an error had no effect and
 *           wrote no output. HV_E_INVALID_PARAMETER_n names the 1-based argument.
 * Needs:    nothing.
 * Never:    a value that depends on the build.
 */
#ifndef HV_BASE_STATUS_H
#define HV_BASE_STATUS_H

#include <stdint.h>

typedef int32_t hv_status_t;
typedef uint32_t hv_handle_t; /* 0 is never valid */

/* X(name, value, when) */
#define HV_STATUS_LIST(X)                                                              \
    X(HV_OK, 0, "success")                                                             \
    X(HV_E_INVALID_PARAMETER, -1, "several arguments do not fit each other")           \
    X(HV_E_INVALID_HANDLE, -2, "unknown or closed handle or device")                   \
    X(HV_E_OBJECT_TYPE, -3, "the handle is of another kind")                           \
    X(HV_E_ACCESS_DENIED, -4, "the handle lacks the right, or the frame is forbidden") \
    X(HV_E_INVALID_PROTECTION, -5, "illegal protection value or combination")          \
    X(HV_E_SECTION_PROTECTION, -6, "more than the section's own protection allows")    \
    X(HV_E_MAPPED_ALIGNMENT, -7, "base or offset not on the required granularity")     \
    X(HV_E_INVALID_VIEW_SIZE, -8, "window reaches past the end of the section")        \
    X(HV_E_CONFLICTING_ADDRESSES, -9, "target already occupied")                       \
    X(HV_E_CACHE_CONFLICT, -10, "frame already mapped with another memory type")       \
    X(HV_E_NOT_MAPPED, -11, "nothing starts or lies there")                            \
    X(HV_E_NO_MEMORY, -12, "no address space, table pages or records")                 \
    X(HV_E_COMMITMENT_LIMIT, -13, "not enough frames to back a committed section")     \
    X(HV_E_SECTION_TOO_BIG, -14, "over the configured maximum")                        \
    X(HV_E_QUOTA, -15, "per-device cap reached")                                       \
    X(HV_E_OUT_OF_RANGE, -16, "outside the BAR")                                       \
    X(HV_E_NO_SUCH_BAR, -17, "BAR absent, I/O, or the upper half of a 64-bit pair")    \
    X(HV_E_ALREADY_EXISTS, -18, "duplicate name, doorbell or instance")                \
    X(HV_E_NOT_FOUND, -19, "no such name or registration")                             \
    X(HV_E_INVALID_STATE, -20, "wrong phase of life")                                  \
    X(HV_E_BUSY, -21, "pinned by something that must go first")                        \
    X(HV_E_NOT_SUPPORTED, -22, "this CPU or build lacks it")                           \
    X(HV_E_GUEST_FAULT, -23, "guest-physical range is not all RAM")                    \
    X(HV_E_TIMEOUT, -24, "time expired")                                               \
    X(HV_E_DEADLOCK, -25, "the call would wait for its own caller")                    \
    X(HV_E_INVALID_PARAMETER_1, -101, "argument 1 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_2, -102, "argument 2 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_3, -103, "argument 3 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_4, -104, "argument 4 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_5, -105, "argument 5 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_6, -106, "argument 6 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_7, -107, "argument 7 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_8, -108, "argument 8 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_9, -109, "argument 9 is illegal by itself")               \
    X(HV_E_INVALID_PARAMETER_10, -110, "argument 10 is illegal by itself")

#define HV_STATUS_ENUM(name, value, when) name = (value),
enum hv_status { HV_STATUS_LIST(HV_STATUS_ENUM) };
#undef HV_STATUS_ENUM

/* The name of a status, "HV_E_?" for a value that is none. Never NULL. */
const char *hv_status_name(hv_status_t status);

#endif
