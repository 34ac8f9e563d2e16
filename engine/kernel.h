/* What drives the kernel's core from C: batches of operations of a fixed size. docs/kernel.md has an
   example. The functions are in the generated `_market_c_api.h`; include this first. */
#ifndef LOCKSTEP_KERNEL_H
#define LOCKSTEP_KERNEL_H

#include <stdint.h>

#define LOCKSTEP_ENTER 'O'  /* a limit order for the day */
#define LOCKSTEP_CANCEL 'X' /* all that is open of one */
#define LOCKSTEP_BUY 'B'
#define LOCKSTEP_SELL 'S'

typedef struct LockstepCore LockstepCore;

typedef struct {
    uint8_t kind;
    uint8_t side;         /* of an order that enters, as are price and quantity */
    uint16_t unused;
    uint32_t instrument;  /* as lockstep_core_list gave it */
    uint32_t client;      /* as lockstep_core_log_in gave it */
    uint32_t user_ref_num; /* the client's name for the order; each new one is greater */
    uint32_t price;
    uint32_t quantity;
} LockstepOperation;

typedef struct {
    uint32_t operation; /* which of the batch brought the order that traded with a resting one */
    uint32_t maker_client; /* the number that it logged in with */
    uint32_t maker_user_ref_num;
    uint32_t price;
    uint32_t quantity;
} LockstepTrade;

typedef struct {
    uint64_t trades;
    uint64_t quantity;
    uint64_t notional; /* the sum of price times quantity */
    uint64_t refused;  /* operations that changed nothing */
} LockstepTotals;

#endif
