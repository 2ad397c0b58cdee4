/* Runs a WebAssembly task in a fog, pays for it, and sends a packet to oneself.
 *
 *     cc example.c $(pkg-config --cflags --libs fogcompute) -o example
 *     ./example ../wasm/sum.wasm
 */
#include <fogcompute.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program when a call fails. */
static void must(fog_status status) {
    if (status != FOG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", fog_status_name(status), fog_last_error_message());
        exit(1);
    }
}

static void run_a_task(const uint8_t *module, size_t module_len) {
    fog_fog *fog;
    must(fog_fog_new(NULL, &fog));

    const uint8_t input[] = {1, 2, 39};
    fog_output *output;
    must(fog_fog_run(fog, module, module_len, input, sizeof input, NULL, &output));

    /* sum.wasm answers with a 64-bit number, its lowest byte first. */
    const uint8_t *data = fog_output_data(output);
    uint64_t sum = 0;
    for (size_t i = fog_output_len(output); i-- > 0;) {
        sum = sum << 8 | data[i];
    }
    printf("the sum is %llu\n", (unsigned long long)sum);

    fog_output_free(output);
    fog_fog_free(fog);
}

static void pay_with_credits(void) {
    const char *mint = "000000000000000000000000000000a0";
    const char *alice = "000000000000000000000000000000a1";
    fog_ledger *ledger;
    must(fog_ledger_in_memory(&ledger));
    must(fog_ledger_open_account(ledger, mint, FOG_ACCOUNT_KIND_ISSUER, NULL));
    must(fog_ledger_open_account(ledger, alice, FOG_ACCOUNT_KIND_HOLDER, NULL));
    /* Under one identifier, a transfer happens once, however often it is asked for. */
    const char *id = "00000000000000000000000000000001";
    must(fog_ledger_transfer(ledger, id, mint, alice, "5000000000000000000", NULL));
    must(fog_ledger_transfer(ledger, id, mint, alice, "5000000000000000000", NULL));

    /* What is reserved cannot be spent elsewhere: 2 credits are promised, of which 1 is paid. */
    const char *promise = "00000000000000000000000000000002";
    must(fog_ledger_reserve(ledger, promise, alice, mint, "2000000000000000000", NULL));
    must(fog_ledger_post(ledger, "00000000000000000000000000000003", promise,
                         "1000000000000000000", NULL));
    fog_amount balance;
    must(fog_ledger_balance(ledger, alice, &balance));
    printf("alice has %s base units\n", balance.text);

    fog_ledger_entry entries[8];
    size_t count;
    must(fog_ledger_history(ledger, alice, 0, entries, 8, &count));
    for (size_t i = 0; i < count; i++) {
        printf("entry %llu: %s %s\n", (unsigned long long)entries[i].sequence, entries[i].kind,
               entries[i].amount.text);
    }

    /* Stake on an operator earns its part of the rewards: 10 % are the operator's. */
    const char *node = "0101010101010101010101010101010101010101010101010101010101010101";
    char treasury[FOG_ID_SIZE];
    must(fog_purse_account("treasury", treasury));
    must(fog_economy_configure(ledger, "00000000000000000000000000000004", NULL, NULL));
    must(fog_economy_register_operator(ledger, "00000000000000000000000000000005", node, alice,
                                       100000, NULL));
    must(fog_economy_bond(ledger, "00000000000000000000000000000006", node, alice,
                          "4000000000000000000", NULL));
    must(fog_economy_reward(ledger, "00000000000000000000000000000007", node, treasury,
                            "1000000000000000000", NULL));
    fog_economy_receipt claimed;
    must(fog_economy_claim(ledger, "00000000000000000000000000000008", node, alice, &claimed));
    printf("alice claimed %s base units\n", claimed.amount.text);
    fog_ledger_free(ledger);
}

static void send_a_packet(void) {
    fog_sphinx *sphinx;
    fog_private_key *key;
    must(fog_sphinx_new(FOG_SPHINX_PAYLOAD_BYTES, &sphinx));
    must(fog_private_key_generate(&key));

    fog_hop receiver = {
        .node = "1111111111111111111111111111111111111111111111111111111111111111"};
    must(fog_private_key_public_key(key, receiver.key, sizeof receiver.key));

    size_t capacity = fog_sphinx_packet_bytes(sphinx), packet_len, payload_len;
    uint8_t *packet = malloc(capacity), *payload = malloc(capacity);
    if (packet == NULL || payload == NULL) {
        exit(1);
    }
    must(fog_sphinx_build(sphinx, &receiver, 1, (const uint8_t *)"hello", 5, packet, capacity,
                          &packet_len));
    fog_processed processed;
    must(fog_sphinx_process(sphinx, key, packet, packet_len, payload, capacity, &payload_len,
                            &processed));
    if (processed.kind == FOG_PROCESSED_KIND_DELIVER) {
        printf("the packet says %.*s\n", (int)payload_len, (const char *)payload);
    }

    free(packet);
    free(payload);
    fog_private_key_free(key);
    fog_sphinx_free(sphinx);
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL) {
        fprintf(stderr, "usage: %s sum.wasm\n", argv[0]);
        return 2;
    }
    uint8_t module[4096];
    size_t module_len = fread(module, 1, sizeof module, file);
    fclose(file);

    run_a_task(module, module_len);
    pay_with_credits();
    send_a_packet();
    return 0;
}
