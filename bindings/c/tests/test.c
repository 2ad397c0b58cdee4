/* The C interface against the shared vectors, and what only C can do wrong.
 *
 * usage: test_c REPOSITORY
 */
/* For nftw(). */
#define _XOPEN_SOURCE 700

#include <fogcompute.h>

#include <cjson/cJSON.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *repository;
static cJSON *shared;
static int failures;

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            printf("  %s:%d: %s\n", __FILE__, __LINE__, #condition);                       \
            failures++;                                                                    \
        }                                                                                  \
    } while (0)

#define OK(call)                                                                           \
    do {                                                                                   \
        fog_status status_ = (call);                                                       \
        if (status_ != FOG_STATUS_OK) {                                                    \
            printf("  %s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call,                     \
                   fog_status_name(status_), fog_last_error_message());                    \
            failures++;                                                                    \
        }                                                                                  \
    } while (0)

/* The call must fail with this status and leave a message. */
#define FAILS(expected, call)                                                              \
    do {                                                                                   \
        fog_status status_ = (call);                                                       \
        if (status_ != (expected) || fog_last_error_message()[0] == '\0') {                \
            printf("  %s:%d: %s: %s instead of %s\n", __FILE__, __LINE__, #call,           \
                   fog_status_name(status_), fog_status_name(expected));                   \
            failures++;                                                                    \
        }                                                                                  \
    } while (0)

/* ---- small helpers ------------------------------------------------------------------------ */

static void *must(void *pointer) {
    if (pointer == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return pointer;
}

static char *read_file(const char *name, size_t *len) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", repository, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    fseek(file, 0, SEEK_END);
    *len = (size_t)ftell(file);
    rewind(file);
    char *bytes = must(malloc(*len + 1));
    if (fread(bytes, 1, *len, file) != *len) {
        perror(path);
        exit(2);
    }
    bytes[*len] = '\0';
    fclose(file);
    return bytes;
}

static const cJSON *get(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (item == NULL) {
        fprintf(stderr, "the vectors have no %s\n", name);
        exit(2);
    }
    return item;
}

static const cJSON *maybe(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(item) ? NULL : item;
}

static const char *text(const cJSON *object, const char *name) {
    const char *value = cJSON_GetStringValue(get(object, name));
    if (value == NULL) {
        fprintf(stderr, "%s is no text\n", name);
        exit(2);
    }
    return value;
}

static double number(const cJSON *object, const char *name) {
    return cJSON_GetNumberValue(get(object, name));
}

/* The vectors promise that no integer is above 2^53. */
static uint64_t whole(const cJSON *object, const char *name) {
    return (uint64_t)number(object, name);
}

static bool truth(const cJSON *object, const char *name) {
    return cJSON_IsTrue(get(object, name));
}

static uint8_t *unhex(const char *digits, size_t *len) {
    *len = strlen(digits) / 2;
    uint8_t *bytes = must(malloc(*len + 1));
    for (size_t i = 0; i < *len; i++) {
        unsigned value;
        sscanf(digits + 2 * i, "%2x", &value);
        bytes[i] = (uint8_t)value;
    }
    return bytes;
}

static void unhex_into(const char *digits, uint8_t *bytes, size_t len) {
    size_t actual;
    uint8_t *read = unhex(digits, &actual);
    CHECK(actual == len);
    memcpy(bytes, read, len);
    free(read);
}

static bool is_hex(const uint8_t *bytes, size_t len, const char *digits) {
    size_t expected_len;
    uint8_t *expected = unhex(digits, &expected_len);
    bool same = len == expected_len && memcmp(bytes, expected, len) == 0;
    free(expected);
    return same;
}

/* Every status of the header. In C++ the compiler checks that none is missing, here the test that
 * compares with the vectors does. */
static const struct {
    fog_status status;
    const char *name;
} STATUSES[] = {
    {FOG_STATUS_INVALID_ARGUMENT, "InvalidArgument"},
    {FOG_STATUS_PANIC, "Panic"},
    {FOG_STATUS_HOST_CALLBACK, "HostCallback"},
    {FOG_STATUS_CANCELLED, "Cancelled"},
    {FOG_STATUS_CLOSED, "Closed"},
    {FOG_STATUS_BUFFER_TOO_SMALL, "BufferTooSmall"},
    {FOG_STATUS_INVALID_PACKET, "InvalidPacket"},
    {FOG_STATUS_INVALID_ROUTE, "InvalidRoute"},
    {FOG_STATUS_PAYLOAD_TOO_LARGE, "PayloadTooLarge"},
    {FOG_STATUS_REPLAYED, "Replayed"},
    {FOG_STATUS_INVALID_TOPOLOGY, "InvalidTopology"},
    {FOG_STATUS_INVALID_REPLY_BLOCK, "InvalidReplyBlock"},
    {FOG_STATUS_NOT_DELIVERED, "NotDelivered"},
    {FOG_STATUS_NO_ANSWER, "NoAnswer"},
    {FOG_STATUS_MIXNET_BUSY, "MixnetBusy"},
    {FOG_STATUS_INVALID_PROBLEM, "InvalidProblem"},
    {FOG_STATUS_NOT_FINITE, "NotFinite"},
    {FOG_STATUS_INFEASIBLE, "Infeasible"},
    {FOG_STATUS_INSUFFICIENT_FUNDS, "InsufficientFunds"},
    {FOG_STATUS_UNKNOWN_ACCOUNT, "UnknownAccount"},
    {FOG_STATUS_ACCOUNT_EXISTS, "AccountExists"},
    {FOG_STATUS_ID_REUSED, "IdReused"},
    {FOG_STATUS_RESERVATION_CLOSED, "ReservationClosed"},
    {FOG_STATUS_INVALID_OPERATION, "InvalidOperation"},
    {FOG_STATUS_UNKNOWN_RESERVATION, "UnknownReservation"},
    {FOG_STATUS_BATCH_EMPTY, "BatchEmpty"},
    {FOG_STATUS_BATCH_TOO_LARGE, "BatchTooLarge"},
    {FOG_STATUS_ZERO_AMOUNT, "ZeroAmount"},
    {FOG_STATUS_SAME_ACCOUNT, "SameAccount"},
    {FOG_STATUS_ACCOUNT_CLOSED, "AccountClosed"},
    {FOG_STATUS_ACCOUNT_IN_USE, "AccountInUse"},
    {FOG_STATUS_NOT_AN_ISSUER, "NotAnIssuer"},
    {FOG_STATUS_ASSET_MISMATCH, "AssetMismatch"},
    {FOG_STATUS_NOT_A_RESERVATION, "NotAReservation"},
    {FOG_STATUS_POST_EXCEEDS_RESERVATION, "PostExceedsReservation"},
    {FOG_STATUS_RESERVATION_EXPIRED, "ReservationExpired"},
    {FOG_STATUS_EXPIRES_IN_PAST, "ExpiresInPast"},
    {FOG_STATUS_AMOUNT_OVERFLOW, "AmountOverflow"},
    {FOG_STATUS_SUPPLY_EXCEEDED, "SupplyExceeded"},
    {FOG_STATUS_CREDITS_EXCEED_DEBITS, "CreditsExceedDebits"},
    {FOG_STATUS_QUOTA_EXCEEDED, "QuotaExceeded"},
    {FOG_STATUS_SIGNATURE_EXPIRED, "SignatureExpired"},
    {FOG_STATUS_NO_OWNER, "NoOwner"},
    {FOG_STATUS_SIGNATURE_FORGED, "SignatureForged"},
    {FOG_STATUS_SIGNATURE_REPLAYED, "SignatureReplayed"},
    {FOG_STATUS_NONCE_SKIPPED, "NonceSkipped"},
    {FOG_STATUS_NOT_THE_OWNER, "NotTheOwner"},
    {FOG_STATUS_NOT_FOR_OWNERS, "NotForOwners"},
    {FOG_STATUS_CHECKPOINT_FORGED, "CheckpointForged"},
    {FOG_STATUS_CHECKPOINT_DIFFERS, "CheckpointDiffers"},
    {FOG_STATUS_CHECKPOINT_MISSING, "CheckpointMissing"},
    {FOG_STATUS_NO_ECONOMY, "NoEconomy"},
    {FOG_STATUS_INVALID_ECONOMY, "InvalidEconomy"},
    {FOG_STATUS_UNKNOWN_PARAMETER, "UnknownParameter"},
    {FOG_STATUS_PURSE_ACCOUNT, "PurseAccount"},
    {FOG_STATUS_ACCOUNT_STAKED, "AccountStaked"},
    {FOG_STATUS_HOST_ONLY, "HostOnly"},
    {FOG_STATUS_MATURES_BY_TIME, "MaturesByTime"},
    {FOG_STATUS_BATCH_TOO_LONG, "BatchTooLong"},
    {FOG_STATUS_CLOCK_BEHIND, "ClockBehind"},
    {FOG_STATUS_UNKNOWN_OPERATOR, "UnknownOperator"},
    {FOG_STATUS_OPERATOR_EXISTS, "OperatorExists"},
    {FOG_STATUS_UNKNOWN_DELEGATOR, "UnknownDelegator"},
    {FOG_STATUS_EXCEEDS_STAKE, "ExceedsStake"},
    {FOG_STATUS_JAILED, "Jailed"},
    {FOG_STATUS_TOMBSTONED, "Tombstoned"},
    {FOG_STATUS_NOT_JAILED, "NotJailed"},
    {FOG_STATUS_TOO_MANY_ENTRIES, "TooManyEntries"},
    {FOG_STATUS_UNKNOWN_ENTRY, "UnknownEntry"},
    {FOG_STATUS_ENTRY_MATURED, "EntryMatured"},
    {FOG_STATUS_EXCEEDS_ENTRY, "ExceedsEntry"},
    {FOG_STATUS_TRANSITIVE_REDELEGATION, "TransitiveRedelegation"},
    {FOG_STATUS_NOTHING_TO_CLAIM, "NothingToClaim"},
    {FOG_STATUS_EVIDENCE_TOO_OLD, "EvidenceTooOld"},
    {FOG_STATUS_EVIDENCE_REPEATED, "EvidenceRepeated"},
    {FOG_STATUS_COMMISSION_TOO_LARGE, "CommissionTooLarge"},
    {FOG_STATUS_COMMISSION_TOO_SOON, "CommissionTooSoon"},
    {FOG_STATUS_CLAIM_REPEATED, "ClaimRepeated"},
    {FOG_STATUS_INSURANCE_SHORT, "InsuranceShort"},
    {FOG_STATUS_STAKING_REFUSED, "StakingRefused"},
    {FOG_STATUS_UNKNOWN_RULE, "UnknownRule"},
    {FOG_STATUS_UNKNOWN_FACT, "UnknownFact"},
    {FOG_STATUS_FACT_MISSING, "FactMissing"},
    {FOG_STATUS_REQUIREMENT_NOT_MET, "RequirementNotMet"},
    {FOG_STATUS_FACT_TOO_LARGE, "FactTooLarge"},
    {FOG_STATUS_SESSION_TOO_SHORT, "SessionTooShort"},
    {FOG_STATUS_SESSION_TOO_LARGE, "SessionTooLarge"},
    {FOG_STATUS_DAILY_LIMIT_REACHED, "DailyLimitReached"},
    {FOG_STATUS_EARNING_REFUSED, "EarningRefused"},
    {FOG_STATUS_INVALID_POLICY, "InvalidPolicy"},
    {FOG_STATUS_PROBE_FAILED, "ProbeFailed"},
    {FOG_STATUS_INVALID_MODULE, "InvalidModule"},
    {FOG_STATUS_OUT_OF_FUEL, "OutOfFuel"},
    {FOG_STATUS_OUT_OF_MEMORY, "OutOfMemory"},
    {FOG_STATUS_INVALID_OUTPUT, "InvalidOutput"},
    {FOG_STATUS_TRAP, "Trap"},
    {FOG_STATUS_TASK_LOST, "TaskLost"},
    {FOG_STATUS_UNKNOWN_TASK, "UnknownTask"},
    {FOG_STATUS_TASK_TIMED_OUT, "TaskTimedOut"},
    {FOG_STATUS_TASK_SKIPPED, "TaskSkipped"},
    {FOG_STATUS_TASK_OPEN, "TaskOpen"},
    {FOG_STATUS_TOO_MANY_TASKS, "TooManyTasks"},
    {FOG_STATUS_STORAGE, "Storage"},
    {FOG_STATUS_STORAGE_LOCKED, "StorageLocked"},
    {FOG_STATUS_STORAGE_CORRUPT, "StorageCorrupt"},
    {FOG_STATUS_STORAGE_FULL, "StorageFull"},
    {FOG_STATUS_STORAGE_READ_ONLY, "StorageReadOnly"},
    {FOG_STATUS_STORAGE_IS_FOLDER, "StorageIsFolder"},
    {FOG_STATUS_STORAGE_NO_FOLDER, "StorageNoFolder"},
    {FOG_STATUS_STORAGE_FOREIGN, "StorageForeign"},
    {FOG_STATUS_STORAGE_TOO_NEW, "StorageTooNew"},
    {FOG_STATUS_STORAGE_EXISTS, "StorageExists"},
    {FOG_STATUS_STORAGE_NOT_EMPTY, "StorageNotEmpty"},
    {FOG_STATUS_STORAGE_UNCERTAIN, "StorageUncertain"},
    {FOG_STATUS_STORAGE_REOPEN, "StorageReopen"},
    {FOG_STATUS_INVALID_TRANSCRIPT, "InvalidTranscript"},
    {FOG_STATUS_STORAGE_MISSING, "StorageMissing"},
    {FOG_STATUS_NODE, "Node"},
    {FOG_STATUS_LISTEN, "Listen"},
    {FOG_STATUS_GOVERNED, "Governed"},
    {FOG_STATUS_PAUSED, "Paused"},
    {FOG_STATUS_SIGNATURE_REQUIRED, "SignatureRequired"},
    {FOG_STATUS_UNKNOWN_PROPOSAL, "UnknownProposal"},
    {FOG_STATUS_PROPOSAL_EXISTS, "ProposalExists"},
    {FOG_STATUS_INVALID_PROPOSAL, "InvalidProposal"},
    {FOG_STATUS_CONTROL_CHARACTER, "ControlCharacter"},
    {FOG_STATUS_NO_ACTIONS, "NoActions"},
    {FOG_STATUS_TOO_MANY_ACTIONS, "TooManyActions"},
    {FOG_STATUS_ACTION_NOT_ALLOWED, "ActionNotAllowed"},
    {FOG_STATUS_PARAMETER_OUT_OF_RANGE, "ParameterOutOfRange"},
    {FOG_STATUS_TREASURY_SHORT, "TreasuryShort"},
    {FOG_STATUS_ACTION_REFUSED, "ActionRefused"},
    {FOG_STATUS_BELOW_THRESHOLD, "BelowThreshold"},
    {FOG_STATUS_TOO_MANY_PROPOSALS, "TooManyProposals"},
    {FOG_STATUS_VOTING_NOT_STARTED, "VotingNotStarted"},
    {FOG_STATUS_VOTING_OVER, "VotingOver"},
    {FOG_STATUS_UNKNOWN_CHOICE, "UnknownChoice"},
    {FOG_STATUS_NO_VOTING_POWER, "NoVotingPower"},
    {FOG_STATUS_ALREADY_VOTED, "AlreadyVoted"},
    {FOG_STATUS_TOO_MANY_VOTE_CHANGES, "TooManyVoteChanges"},
    {FOG_STATUS_WRONG_STATE, "WrongState"},
    {FOG_STATUS_TIMELOCK_RUNNING, "TimelockRunning"},
    {FOG_STATUS_NOT_PERMITTED, "NotPermitted"},
    {FOG_STATUS_ACTION_FAILED, "ActionFailed"},
    {FOG_STATUS_CIRCULAR_DELEGATION, "CircularDelegation"},
    {FOG_STATUS_DELEGATION_TOO_COMPLEX, "DelegationTooComplex"},
    {FOG_STATUS_INVALID_DELEGATION, "InvalidDelegation"},
    {FOG_STATUS_NOTHING_DELEGATED, "NothingDelegated"},
    {FOG_STATUS_ALREADY_ENROLLED, "AlreadyEnrolled"},
    {FOG_STATUS_ALREADY_ESTABLISHED, "AlreadyEstablished"},
    {FOG_STATUS_FUTURE_LOOKUP, "FutureLookup"},
    {FOG_STATUS_GOVERNANCE_REFUSED, "GovernanceRefused"},
    {FOG_STATUS_UNKNOWN_PEER, "UnknownPeer"},
    {FOG_STATUS_NOT_UNDERSTOOD, "NotUnderstood"},
    {FOG_STATUS_UNKNOWN_GROUP, "UnknownGroup"},
    {FOG_STATUS_NOT_GROUP_CREATOR, "NotGroupCreator"},
    {FOG_STATUS_MESH_BUSY, "MeshBusy"},
    {FOG_STATUS_INVALID_MESH_CONTENT, "InvalidMeshContent"},
    {FOG_STATUS_UNKNOWN_FILE, "UnknownFile"},
    {FOG_STATUS_COORDINATOR_UNREACHABLE, "CoordinatorUnreachable"},
    {FOG_STATUS_COORDINATOR_SILENT, "CoordinatorSilent"},
    {FOG_STATUS_INVALID_TOKEN, "InvalidToken"},
    {FOG_STATUS_TOKEN_EXPIRED, "TokenExpired"},
    {FOG_STATUS_TOKEN_FORBIDS, "TokenForbids"},
    {FOG_STATUS_TOKEN_USED_UP, "TokenUsedUp"},
    {FOG_STATUS_CALL_REFUSED, "CallRefused"},
    {FOG_STATUS_COORDINATOR_BUSY, "CoordinatorBusy"},
    {FOG_STATUS_INVALID_JOB, "InvalidJob"},
    {FOG_STATUS_NO_RESULT, "NoResult"},
    {FOG_STATUS_UNKNOWN_NODE, "UnknownNode"},
    {FOG_STATUS_INVALID_ANSWER, "InvalidAnswer"},
};

/* What the vectors expect of a case: its error, or success. */
static fog_status expected(const cJSON *object) {
    const cJSON *error = maybe(object, "error");
    if (error == NULL) {
        return FOG_STATUS_OK;
    }
    for (size_t i = 0; i < sizeof STATUSES / sizeof *STATUSES; i++) {
        if (strcmp(STATUSES[i].name, cJSON_GetStringValue(error)) == 0) {
            return STATUSES[i].status;
        }
    }
    fprintf(stderr, "the vectors expect an unknown error %s\n", cJSON_GetStringValue(error));
    exit(2);
}

/* ---- basics ------------------------------------------------------------------------------- */

static void test_version(void) {
    CHECK(strcmp(fog_version(), text(shared, "version")) == 0);
    CHECK(strcmp(fog_version(), FOGCOMPUTE_VERSION) == 0);
    char numbers[64];
    snprintf(numbers, sizeof numbers, "%d.%d.%d", FOGCOMPUTE_VERSION_MAJOR,
             FOGCOMPUTE_VERSION_MINOR, FOGCOMPUTE_VERSION_PATCH);
    CHECK(strcmp(numbers, FOGCOMPUTE_VERSION) == 0);
}

static void test_statuses_are_the_shared_error_codes(void) {
    const cJSON *codes = get(shared, "error_codes");
    size_t count = sizeof STATUSES / sizeof *STATUSES;
    CHECK((size_t)cJSON_GetArraySize(codes) == count);
    for (size_t i = 0; i < count; i++) {
        const cJSON *code = cJSON_GetArrayItem(codes, (int)i);
        CHECK(whole(code, "code") == (uint64_t)STATUSES[i].status);
        CHECK(strcmp(text(code, "name"), STATUSES[i].name) == 0);
        CHECK(strcmp(fog_status_name(STATUSES[i].status), STATUSES[i].name) == 0);
    }
    CHECK(strcmp(fog_status_name(FOG_STATUS_OK), "Ok") == 0);
    CHECK(strcmp(fog_status_name(4711), "Unknown") == 0);
}

static void test_a_panic_becomes_a_status(void) {
    FAILS(FOG_STATUS_PANIC, fog_test_panic());
    CHECK(strstr(fog_last_error_message(), "panic on purpose") != NULL);
}

static void *fail_elsewhere(void *unused) {
    (void)unused;
    const char *before = fog_last_error_message();
    bool was_empty = before[0] == '\0';
    fog_sphinx *sphinx = NULL;
    fog_sphinx_new(1, &sphinx);
    return was_empty && strstr(fog_last_error_message(), "payload") != NULL ? &failures : NULL;
}

static void test_each_thread_has_its_own_last_error(void) {
    FAILS(FOG_STATUS_PANIC, fog_test_panic());
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, fail_elsewhere, NULL) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result != NULL);
    CHECK(strstr(fog_last_error_message(), "panic on purpose") != NULL);
}

static void test_null_is_refused_or_ignored(void) {
    size_t len;
    fog_sphinx *sphinx;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_sphinx_new(2048, NULL));
    CHECK(strcmp(fog_last_error_message(), "out is NULL") == 0);
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_build(NULL, NULL, 0, NULL, 0, NULL, 0, &len));
    OK(fog_sphinx_new(2048, &sphinx));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_build(sphinx, NULL, 1, NULL, 0, NULL, 0, &len));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_open(NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_minimize(NULL, NULL, NULL, 0, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_harvest_policy_decide(NULL, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_run(NULL, NULL, 0, NULL, 0, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_task_cancel(NULL));
    CHECK(fog_sphinx_packet_bytes(NULL) == 0);
    CHECK(fog_front_size(NULL) == 0);
    CHECK(fog_plan_size(NULL) == 0);
    CHECK(fog_output_data(NULL) == NULL);
    CHECK(fog_decision_verdict(NULL) == FOG_VERDICT_REFUSE);
    fog_string_free(NULL);
    fog_sphinx_free(NULL);
    fog_private_key_free(NULL);
    fog_front_free(NULL);
    fog_plan_free(NULL);
    fog_ledger_free(NULL);
    fog_harvest_policy_free(NULL);
    fog_decision_free(NULL);
    fog_output_free(NULL);
    fog_task_free(NULL);
    fog_fog_free(NULL);
    fog_sphinx_free(sphinx);
}

static void test_null_is_refused_or_ignored_by_the_mixnet(void) {
    size_t len;
    uint8_t byte = 0;
    fog_sphinx *sphinx = NULL;
    fog_private_key *key = NULL;
    OK(fog_sphinx_new(1024, &sphinx));
    OK(fog_private_key_generate(&key));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_sphinx_with_hops(7, 1024, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_sphinx_build_batch(sphinx, NULL, 1, NULL, 0, &len));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_sphinx_build_batch(sphinx, NULL, 0, NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_process_batch(sphinx, key, NULL, 1, NULL, 0, &len));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_process_batch(sphinx, NULL, &byte, 0, NULL, 0, &len));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_make_surb(sphinx, NULL, 1, NULL, 0, &len, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_reply(sphinx, NULL, 1, NULL, 0, NULL, NULL, 0, &len));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_open_reply(sphinx, NULL, NULL, 0, NULL, 0, &len));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_sphinx_processor_new(sphinx, NULL, 1, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_processor_process(NULL, NULL, 0, NULL, 0, &len, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_new(NULL, 1, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_verify(NULL, NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_sign(NULL, NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_node_start(NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_node_close(NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_start(NULL, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_receive(NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_close(NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_restore(NULL, NULL, NULL, 0, NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_suspend(NULL, NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_restored_messages(NULL, NULL, 0, &len));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_restored_requests(NULL, NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_reply_blocks(NULL, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_reply_with(NULL, NULL, NULL, 0));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_answer_to(NULL, NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_answer_to_async(NULL, NULL, 0, NULL, NULL));
    CHECK(fog_sphinx_hops_max(NULL) == 0 && fog_sphinx_surb_bytes(NULL) == 0);
    CHECK(fog_topology_layer_count(NULL) == 0 && fog_topology_node_count(NULL, 0) == 0);
    CHECK(fog_mixnet_message_data(NULL) == NULL && fog_mixnet_message_len(NULL) == 0);
    CHECK(fog_mixnet_message_reply_blocks(NULL) == 0);
    CHECK(fog_mixnet_answer_data(NULL) == NULL && fog_mixnet_answer_len(NULL) == 0);
    CHECK(fog_mixnet_state_data(NULL) == NULL && fog_mixnet_state_len(NULL) == 0);
    CHECK(fog_reply_blocks_count(NULL) == 0);
    fog_reply_key_free(NULL);
    fog_sphinx_processor_free(NULL);
    fog_topology_free(NULL);
    fog_mixnet_node_free(NULL);
    fog_mixnet_message_free(NULL);
    fog_mixnet_answer_free(NULL);
    fog_mixnet_state_free(NULL);
    fog_reply_blocks_free(NULL);
    fog_mixnet_client_free(NULL);
    fog_private_key_free(key);
    fog_sphinx_free(sphinx);
}

/* ---- Sphinx ------------------------------------------------------------------------------- */

static fog_private_key *key_from_hex(const char *digits) {
    size_t len;
    uint8_t *bytes = unhex(digits, &len);
    fog_private_key *key = NULL;
    OK(fog_private_key_from_bytes(bytes, len, &key));
    free(bytes);
    return key;
}

/* Hops that point into the vectors. */
static fog_hop *read_route(const cJSON *route, size_t *len) {
    *len = (size_t)cJSON_GetArraySize(route);
    fog_hop *hops = must(calloc(*len + 1, sizeof *hops));
    const cJSON *hop;
    size_t i = 0;
    cJSON_ArrayForEach(hop, route) {
        hops[i].node = text(hop, "node");
        unhex_into(text(hop, "key"), hops[i].key, FOG_KEY_BYTES);
        hops[i].delay_ns = whole(hop, "delay_ms") * 1000000;
        i++;
    }
    return hops;
}

/* Follows a packet through all hops. Tags are compared for the packet of the vectors only. */
static void follow(const fog_sphinx *sphinx, const cJSON *area, uint8_t *packet, size_t len,
                   bool is_own) {
    size_t capacity = fog_sphinx_packet_bytes(sphinx);
    uint8_t *out = must(malloc(capacity));
    const cJSON *hops = get(area, "hops");
    const cJSON *private_key;
    int index = 0;
    cJSON_ArrayForEach(private_key, get(area, "private_keys")) {
        const cJSON *hop = cJSON_GetArrayItem(hops, index++);
        fog_private_key *key = key_from_hex(cJSON_GetStringValue(private_key));
        fog_processed processed;
        size_t out_len = 0;
        OK(fog_sphinx_process(sphinx, key, packet, len, out, capacity, &out_len, &processed));
        fog_private_key_free(key);
        if (is_own) {
            CHECK(is_hex(processed.replay_tag, 16, text(hop, "replay_tag")));
        }
        const char *kind = text(hop, "kind");
        switch (processed.kind) {
        case FOG_PROCESSED_KIND_FORWARD:
            CHECK(strcmp(kind, "forward") == 0);
            CHECK(strcmp(processed.next, text(hop, "next")) == 0);
            CHECK(processed.delay_ns == whole(hop, "delay_ms") * 1000000);
            CHECK(!is_own || is_hex(out, out_len, text(hop, "packet")));
            memcpy(packet, out, out_len);
            len = out_len;
            break;
        case FOG_PROCESSED_KIND_DELIVER:
            CHECK(strcmp(kind, "deliver") == 0);
            CHECK(is_hex(out, out_len, text(hop, "payload")));
            break;
        case FOG_PROCESSED_KIND_REPLY:
            CHECK(strcmp(kind, "reply") == 0);
            CHECK(strcmp(processed.surb, text(hop, "surb")) == 0);
            CHECK(out_len > fog_sphinx_payload_bytes(sphinx));
            break;
        default:
            CHECK(!"a kind of the header");
        }
    }
    CHECK(index == cJSON_GetArraySize(hops));
    free(out);
}

static void run_sphinx(const cJSON *area) {
    fog_sphinx *sphinx = NULL;
    size_t len, payload_len, route_len, built_len;
    OK(fog_sphinx_new((size_t)whole(area, "payload_bytes"), &sphinx));
    CHECK(fog_sphinx_payload_bytes(sphinx) == whole(area, "payload_bytes"));
    size_t capacity = fog_sphinx_packet_bytes(sphinx);
    CHECK(capacity == whole(area, "packet_bytes"));

    uint8_t *packet = unhex(text(area, "packet"), &len);
    follow(sphinx, area, packet, len, true);
    free(packet);

    uint8_t *payload = unhex(text(area, "payload"), &payload_len);
    fog_hop *route = read_route(get(area, "route"), &route_len);
    uint8_t *built = must(malloc(capacity));
    OK(fog_sphinx_build(sphinx, route, route_len, payload, payload_len, built, capacity,
                        &built_len));
    CHECK(built_len == capacity);
    follow(sphinx, area, built, built_len, false);
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_build(sphinx, route, route_len, payload, payload_len, built, capacity - 1,
                           &built_len));
    CHECK(built_len == capacity);
    free(route);
    free(payload);

    const cJSON *refused;
    fog_processed processed;
    cJSON_ArrayForEach(refused, get(area, "refused")) {
        uint8_t *bad = unhex(text(refused, "packet"), &len);
        fog_private_key *key = key_from_hex(text(refused, "private_key"));
        FAILS(expected(refused), fog_sphinx_process(sphinx, key, bad, len, built, capacity,
                                                    &built_len, &processed));
        fog_private_key_free(key);
        free(bad);
    }
    cJSON_ArrayForEach(refused, get(area, "refused_routes")) {
        payload = unhex(text(refused, "payload"), &payload_len);
        route = read_route(get(refused, "route"), &route_len);
        FAILS(expected(refused), fog_sphinx_build(sphinx, route, route_len, payload, payload_len,
                                                  built, capacity, &built_len));
        free(route);
        free(payload);
    }
    free(built);
    fog_sphinx_free(sphinx);
}

static void test_sphinx_packets_open_hop_by_hop(void) {
    run_sphinx(get(shared, "sphinx"));
    const cJSON *area;
    cJSON_ArrayForEach(area, get(shared, "sphinx_more")) {
        run_sphinx(area);
    }
    area = get(shared, "sphinx_reply");
    fog_sphinx *sphinx = NULL;
    OK(fog_sphinx_new((size_t)whole(area, "payload_bytes"), &sphinx));
    size_t len;
    uint8_t *packet = unhex(text(area, "packet"), &len);
    follow(sphinx, area, packet, len, true);
    free(packet);
    fog_sphinx_free(sphinx);
}

static void test_small_buffers_are_told_the_needed_size(void) {
    const cJSON *area = get(shared, "sphinx");
    fog_sphinx *sphinx = NULL;
    OK(fog_sphinx_new(FOG_SPHINX_PAYLOAD_BYTES, &sphinx));
    size_t len, out_len = 0;
    uint8_t *packet = unhex(text(area, "packet"), &len);
    const cJSON *first = cJSON_GetArrayItem(get(area, "private_keys"), 0);
    fog_private_key *key = key_from_hex(cJSON_GetStringValue(first));
    fog_processed processed;
    memset(&processed, 0x55, sizeof processed);
    uint8_t small[16] = {0};
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_sphinx_process(sphinx, key, packet, len, small,
                                                          sizeof small, &out_len, &processed));
    CHECK(out_len == fog_sphinx_packet_bytes(sphinx));
    CHECK(small[0] == 0 && processed.replay_tag[0] == 0x55);
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_process(sphinx, key, packet, len, NULL, 0, &out_len, &processed));
    fog_private_key_free(key);
    free(packet);
    fog_sphinx_free(sphinx);
}

static void test_private_keys(void) {
    const cJSON *area = get(shared, "sphinx");
    const cJSON *private_key;
    int index = 0;
    uint8_t bytes[FOG_KEY_BYTES];
    cJSON_ArrayForEach(private_key, get(area, "private_keys")) {
        fog_private_key *key = key_from_hex(cJSON_GetStringValue(private_key));
        OK(fog_private_key_to_bytes(key, bytes, sizeof bytes));
        CHECK(is_hex(bytes, sizeof bytes, cJSON_GetStringValue(private_key)));
        OK(fog_private_key_public_key(key, bytes, sizeof bytes));
        const cJSON *public_key = cJSON_GetArrayItem(get(area, "public_keys"), index++);
        CHECK(is_hex(bytes, sizeof bytes, cJSON_GetStringValue(public_key)));
        FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_private_key_public_key(key, bytes, 31));
        fog_private_key_free(key);
    }
    fog_private_key *key = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_private_key_from_bytes(bytes, 31, &key));
    CHECK(key == NULL);
    uint8_t other[FOG_KEY_BYTES];
    OK(fog_private_key_generate(&key));
    OK(fog_private_key_to_bytes(key, bytes, sizeof bytes));
    fog_private_key_free(key);
    OK(fog_private_key_generate(&key));
    OK(fog_private_key_to_bytes(key, other, sizeof other));
    fog_private_key_free(key);
    CHECK(memcmp(bytes, other, sizeof bytes) != 0);
}

static const char *const NODES[] = {
    "1111111111111111111111111111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222222222222222222222222222",
    "3333333333333333333333333333333333333333333333333333333333333333",
};

/* A new key, and a hop at the node of that number. */
static fog_private_key *key_and_hop(size_t node, fog_hop *hop) {
    fog_private_key *key = NULL;
    OK(fog_private_key_generate(&key));
    memset(hop, 0, sizeof *hop);
    hop->node = NODES[node];
    OK(fog_private_key_public_key(key, hop->key, sizeof hop->key));
    return key;
}

static void test_a_batch_is_processed_in_place_and_one_bad_packet_harms_no_other(void) {
    enum { ORDERS = 18, COUNT = ORDERS + 1, BAD = 3 };
    fog_sphinx *sphinx = NULL;
    OK(fog_sphinx_with_hops(5, 1024, &sphinx));
    CHECK(fog_sphinx_hops_max(sphinx) == 5 && fog_sphinx_payload_bytes(sphinx) == 1024);
    fog_hop hops[2];
    fog_private_key *key = key_and_hop(0, &hops[0]);
    fog_private_key_free(key_and_hop(1, &hops[1]));
    hops[0].delay_ns = 3000000;
    fog_order orders[ORDERS];
    uint8_t payload[ORDERS];
    for (size_t i = 0; i < ORDERS; i++) {
        payload[i] = (uint8_t)i;
        orders[i] = (fog_order){hops, 1 + i % 2, payload, i};
    }
    size_t packet_bytes = fog_sphinx_packet_bytes(sphinx), len = 0, count = 0, one_len = 0;
    uint8_t *packets = must(malloc(COUNT * packet_bytes));
    uint8_t *before = must(malloc(COUNT * packet_bytes));
    uint8_t *one = must(malloc(packet_bytes));
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_build_batch(sphinx, orders, ORDERS, packets, ORDERS * packet_bytes - 1, &len));
    CHECK(len == ORDERS * packet_bytes);
    OK(fog_sphinx_build_batch(sphinx, orders, ORDERS, packets, COUNT * packet_bytes, &len));
    CHECK(len == ORDERS * packet_bytes);
    fog_reply_key *reply_key = NULL;
    fog_node_ref next;
    uint8_t *surb = must(malloc(fog_sphinx_surb_bytes(sphinx)));
    OK(fog_sphinx_make_surb(sphinx, hops, 1, surb, fog_sphinx_surb_bytes(sphinx), &one_len,
                            &reply_key));
    OK(fog_sphinx_reply(sphinx, surb, one_len, payload, 2, &next, packets + len, packet_bytes,
                        &one_len));
    CHECK(strncmp(next.text, NODES[0], 16) == 0 && strlen(next.text) == 16);
    packets[BAD * packet_bytes + 40] ^= 1;
    memcpy(before, packets, COUNT * packet_bytes);

    fog_opened results[COUNT];
    FAILS(FOG_STATUS_INVALID_PACKET,
          fog_sphinx_process_batch(sphinx, key, packets, COUNT * packet_bytes - 1, results, COUNT,
                                   &count));
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_process_batch(sphinx, key, packets, COUNT * packet_bytes, results, COUNT - 1,
                                   &count));
    CHECK(count == COUNT && memcmp(packets, before, COUNT * packet_bytes) == 0);
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_process_batch(sphinx, key, packets, COUNT * packet_bytes, NULL, COUNT,
                                   &count));
    OK(fog_sphinx_process_batch(sphinx, key, packets, COUNT * packet_bytes, results, COUNT,
                                &count));
    CHECK(count == COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        fog_processed alone;
        fog_status status = fog_sphinx_process(sphinx, key, before + i * packet_bytes,
                                               packet_bytes, one, packet_bytes, &one_len, &alone);
        CHECK(results[i].status == status);
        CHECK(status == (i == BAD ? FOG_STATUS_INVALID_PACKET : FOG_STATUS_OK));
        if (status != FOG_STATUS_OK) {
            continue;
        }
        CHECK(results[i].kind == alone.kind && results[i].delay_ns == alone.delay_ns);
        CHECK(memcmp(results[i].replay_tag, alone.replay_tag, sizeof alone.replay_tag) == 0);
        CHECK(strcmp(results[i].next, alone.next) == 0);
        CHECK(strcmp(results[i].surb, alone.surb) == 0);
        CHECK(results[i].length == one_len);
        CHECK(memcmp(packets + results[i].offset, one, one_len) == 0);
        CHECK(alone.kind == (i == ORDERS ? FOG_PROCESSED_KIND_REPLY
                             : i % 2 == 1 ? FOG_PROCESSED_KIND_FORWARD
                                          : FOG_PROCESSED_KIND_DELIVER));
    }
    fog_id id;
    OK(fog_reply_key_id(reply_key, &id));
    CHECK(strcmp(id.text, results[ORDERS].surb) == 0);
    OK(fog_sphinx_open_reply(sphinx, reply_key, packets + results[ORDERS].offset,
                             results[ORDERS].length, one, packet_bytes, &one_len));
    CHECK(one_len == 2 && memcmp(one, payload, 2) == 0);
    OK(fog_sphinx_process_batch(sphinx, key, NULL, 0, NULL, 0, &count));
    CHECK(count == 0);
    const fog_hop circle[3] = {hops[0], hops[1], hops[0]};
    orders[1] = (fog_order){circle, 3, NULL, 0};
    FAILS(FOG_STATUS_INVALID_ROUTE,
          fog_sphinx_build_batch(sphinx, orders, 2, packets, COUNT * packet_bytes, &len));
    orders[1] = (fog_order){hops, 1, before, 1025};
    FAILS(FOG_STATUS_PAYLOAD_TOO_LARGE,
          fog_sphinx_build_batch(sphinx, orders, 2, packets, COUNT * packet_bytes, &len));
    fog_reply_key_free(reply_key);
    fog_private_key_free(key);
    free(surb);
    free(one);
    free(before);
    free(packets);
    fog_sphinx_free(sphinx);
}

static void test_a_reply_block_brings_a_reply_back(void) {
    fog_sphinx *sphinx = NULL;
    OK(fog_sphinx_new(FOG_SPHINX_PAYLOAD_BYTES, &sphinx));
    fog_hop hops[2];
    fog_private_key *first = key_and_hop(0, &hops[0]), *maker = key_and_hop(1, &hops[1]);
    size_t capacity = fog_sphinx_packet_bytes(sphinx), surb_bytes = fog_sphinx_surb_bytes(sphinx);
    uint8_t *surb = must(malloc(surb_bytes)), *packet = must(malloc(capacity));
    uint8_t *out = must(malloc(capacity));
    size_t surb_len = 0, len = 0, out_len = 0;
    fog_reply_key *key = NULL, *other = NULL;
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_make_surb(sphinx, hops, 2, surb, surb_bytes - 1, &surb_len, &key));
    CHECK(surb_len == surb_bytes && key == NULL);
    OK(fog_sphinx_make_surb(sphinx, hops, 2, surb, surb_bytes, &surb_len, &other));
    OK(fog_sphinx_make_surb(sphinx, hops, 2, surb, surb_bytes, &surb_len, &key));
    FAILS(FOG_STATUS_INVALID_ROUTE,
          fog_sphinx_make_surb(sphinx, hops, 0, surb, surb_bytes, &out_len, &key));

    fog_node_ref next;
    const uint8_t *text = (const uint8_t *)"answer";
    FAILS(FOG_STATUS_INVALID_REPLY_BLOCK,
          fog_sphinx_reply(sphinx, surb, surb_len - 1, text, 6, &next, packet, capacity, &len));
    FAILS(FOG_STATUS_PAYLOAD_TOO_LARGE,
          fog_sphinx_reply(sphinx, surb, surb_len, out, FOG_SPHINX_PAYLOAD_BYTES + 1, &next, packet,
                           capacity, &len));
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_reply(sphinx, surb, surb_len, text, 6, &next, packet, capacity - 1, &len));
    CHECK(len == capacity);
    OK(fog_sphinx_reply(sphinx, surb, surb_len, text, 6, &next, packet, capacity, &len));
    CHECK(strncmp(next.text, NODES[0], 16) == 0);

    fog_processed processed;
    OK(fog_sphinx_process(sphinx, first, packet, len, out, capacity, &out_len, &processed));
    CHECK(processed.kind == FOG_PROCESSED_KIND_FORWARD);
    memcpy(packet, out, out_len);
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_process(sphinx, maker, packet, out_len, out, 0, &len, &processed));
    OK(fog_sphinx_process(sphinx, maker, packet, out_len, out, capacity, &len, &processed));
    CHECK(processed.kind == FOG_PROCESSED_KIND_REPLY);
    fog_id id;
    OK(fog_reply_key_id(key, &id));
    CHECK(strcmp(id.text, processed.surb) == 0);
    FAILS(FOG_STATUS_INVALID_REPLY_BLOCK,
          fog_sphinx_open_reply(sphinx, other, out, len, packet, capacity, &out_len));
    FAILS(FOG_STATUS_INVALID_REPLY_BLOCK,
          fog_sphinx_open_reply(sphinx, key, out, len - 1, packet, capacity, &out_len));
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_open_reply(sphinx, key, out, len, packet, 5, &out_len));
    CHECK(out_len == 6);
    OK(fog_sphinx_open_reply(sphinx, key, out, len, packet, capacity, &out_len));
    CHECK(out_len == 6 && memcmp(packet, text, 6) == 0);
    fog_reply_key_free(key);
    fog_reply_key_free(other);
    fog_private_key_free(first);
    fog_private_key_free(maker);
    free(out);
    free(packet);
    free(surb);
    fog_sphinx_free(sphinx);
}

static void test_a_processor_takes_a_packet_once(void) {
    fog_sphinx *sphinx = NULL;
    OK(fog_sphinx_with_hops(2, 1024, &sphinx));
    fog_hop hops[2];
    fog_private_key *key = key_and_hop(0, &hops[0]);
    fog_private_key_free(key_and_hop(1, &hops[1]));
    fog_sphinx_processor *processor = NULL;
    OK(fog_sphinx_processor_new(sphinx, key, 1000, &processor));
    uint8_t public_key[FOG_KEY_BYTES];
    OK(fog_sphinx_processor_public_key(processor, public_key, sizeof public_key));
    CHECK(memcmp(public_key, hops[0].key, sizeof public_key) == 0);
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_sphinx_processor_public_key(processor, public_key, 31));

    size_t capacity = fog_sphinx_packet_bytes(sphinx), len = 0, out_len = 0, count = 0;
    uint8_t *packets = must(malloc(2 * capacity)), *out = must(malloc(capacity));
    const fog_order orders[2] = {{hops, 1, (const uint8_t *)"once", 4}, {hops, 2, NULL, 0}};
    OK(fog_sphinx_build_batch(sphinx, orders, 2, packets, 2 * capacity, &len));
    fog_processed processed;
    /* A packet that a small buffer could not hold was not processed, and is not lost. */
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_sphinx_processor_process(processor, packets, capacity, out, 4, &out_len, &processed));
    CHECK(out_len == capacity);
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_sphinx_processor_process(processor, packets, capacity, NULL, capacity, &out_len,
                                       &processed));
    OK(fog_sphinx_processor_process(processor, packets, capacity, out, capacity, &out_len,
                                    &processed));
    CHECK(processed.kind == FOG_PROCESSED_KIND_DELIVER && out_len == 4);
    CHECK(memcmp(out, "once", 4) == 0);
    FAILS(FOG_STATUS_REPLAYED, fog_sphinx_processor_process(processor, packets, capacity, out,
                                                            capacity, &out_len, &processed));
    FAILS(FOG_STATUS_INVALID_PACKET,
          fog_sphinx_processor_process(processor, packets, capacity - 1, out, capacity, &out_len,
                                       &processed));
    fog_opened results[2];
    OK(fog_sphinx_processor_process_batch(processor, packets, len, results, 2, &count));
    CHECK(count == 2 && results[0].status == FOG_STATUS_REPLAYED);
    CHECK(results[1].status == FOG_STATUS_OK);
    CHECK(results[1].kind == FOG_PROCESSED_KIND_FORWARD && results[1].offset == capacity);
    fog_processor_stats stats;
    OK(fog_sphinx_processor_stats(processor, &stats));
    CHECK(stats.received == 5 && stats.delivered == 1 && stats.forwarded == 1);
    CHECK(stats.replayed == 2 && stats.malformed == 1 && stats.overloaded == 0);
    fog_sphinx_processor_free(processor);

    OK(fog_sphinx_processor_new(sphinx, key, 1, &processor));
    fog_status status = FOG_STATUS_OK;
    for (int i = 0; i < 1000 && status == FOG_STATUS_OK; i++) {
        OK(fog_sphinx_build(sphinx, hops, 1, NULL, 0, packets, capacity, &len));
        status = fog_sphinx_processor_process(processor, packets, capacity, out, capacity,
                                              &out_len, &processed);
    }
    CHECK(status == FOG_STATUS_MIXNET_BUSY);
    fog_sphinx_processor_free(processor);
    fog_private_key_free(key);
    free(out);
    free(packets);
    fog_sphinx_free(sphinx);
}

/* ---- optimisation ------------------------------------------------------------------------ */

static int32_t schaffer(void *user_data, const double *genes, size_t count, size_t gene_count,
                        double *objectives, size_t objective_count, double *violations) {
    uint64_t *calls = user_data;
    (void)violations;
    if (gene_count != 1 || objective_count != 2) {
        return 99;
    }
    if (calls != NULL) {
        *calls += count;
    }
    for (size_t i = 0; i < count; i++) {
        double x = genes[i];
        objectives[2 * i] = x * x;
        objectives[2 * i + 1] = (x - 2.0) * (x - 2.0);
    }
    return 0;
}

static int32_t mixed(void *user_data, const double *genes, size_t count, size_t gene_count,
                     double *objectives, size_t objective_count, double *violations) {
    (void)user_data;
    if (gene_count != 3 || objective_count != 2) {
        return 99;
    }
    for (size_t i = 0; i < count; i++, genes += 3, objectives += 2) {
        double x = genes[0], n = genes[1], c = genes[2];
        objectives[0] = x + n + c;
        objectives[1] = (x - 3.0) * (x - 3.0) + (n - 2.0) * (n - 2.0) + (c - 3.0) * (c - 3.0);
        violations[i] = x < 1.0 ? 1.0 - x : 0.0;
    }
    return 0;
}

/* How far each thing is from where it would be in falling order. */
static int32_t disorder(void *user_data, const double *genes, size_t count, size_t gene_count,
                        double *objectives, size_t objective_count, double *violations) {
    (void)user_data, (void)objective_count, (void)violations;
    for (size_t i = 0; i < count; i++) {
        objectives[i] = 0.0;
        for (size_t at = 0; at < gene_count; at++) {
            objectives[i] += fabs(genes[i * gene_count + at] - (double)(gene_count - 1 - at));
        }
    }
    return 0;
}

static int32_t gives_up(void *user_data, const double *genes, size_t count, size_t gene_count,
                        double *objectives, size_t objective_count, double *violations) {
    (void)genes, (void)count, (void)gene_count, (void)objectives, (void)objective_count;
    (void)violations;
    ++*(uint64_t *)user_data;
    return 7;
}

static int32_t not_finite(void *user_data, const double *genes, size_t count, size_t gene_count,
                          double *objectives, size_t objective_count, double *violations) {
    (void)user_data, (void)genes, (void)gene_count, (void)violations;
    double zero = 0.0;
    for (size_t i = 0; i < count * objective_count; i++) {
        objectives[i] = zero;
    }
    objectives[0] = zero / zero;
    return 0;
}

static int32_t writes_nothing(void *user_data, const double *genes, size_t count,
                              size_t gene_count, double *objectives, size_t objective_count,
                              double *violations) {
    (void)user_data, (void)genes, (void)count, (void)gene_count;
    (void)objectives, (void)objective_count, (void)violations;
    return 0;
}

static fog_nsga2_config read_config(const cJSON *area) {
    fog_nsga2_config config;
    OK(fog_nsga2_config_default(&config));
    config.population = (uint32_t)whole(area, "population");
    config.generations = (uint32_t)whole(area, "generations");
    return config;
}

static fog_search_config read_search_config(const cJSON *area) {
    fog_search_config config;
    OK(fog_search_config_default(&config));
    config.population = (uint32_t)whole(area, "population");
    config.generations = (uint32_t)whole(area, "generations");
    return config;
}

static void same_numbers(const double *numbers, size_t count, const cJSON *expected_numbers) {
    CHECK((size_t)cJSON_GetArraySize(expected_numbers) == count);
    for (size_t i = 0; i < count; i++) {
        CHECK(numbers[i] ==
              cJSON_GetNumberValue(cJSON_GetArrayItem(expected_numbers, (int)i)));
    }
}

static void same_front(const fog_front *front, const cJSON *area) {
    size_t size = fog_front_size(front);
    CHECK(size == whole(area, "front_size"));
    CHECK(fog_front_evaluations(front) == whole(area, "evaluations"));
    CHECK(fog_front_generations(front) == whole(area, "generations"));
    fog_individual found;
    for (size_t i = 0; i < size; i++) {
        const cJSON *individual = cJSON_GetArrayItem(get(area, "individuals"), (int)i);
        OK(fog_front_individual(front, i, &found));
        same_numbers(found.genes, found.gene_count, get(individual, "genes"));
        same_numbers(found.objectives, found.objective_count, get(individual, "objectives"));
        CHECK(found.violation == 0.0);
    }
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_front_individual(front, size, &found));
}

static fog_status run_schaffer(const cJSON *area, fog_evaluate evaluate, void *user_data,
                               fog_front **front) {
    fog_variable variable = {.kind = FOG_VARIABLE_KIND_REAL,
                             .low = number(area, "low"),
                             .high = number(area, "high")};
    fog_problem problem = {.variables = &variable,
                           .variable_count = 1,
                           .objective_count = 2,
                           .evaluate = evaluate,
                           .user_data = user_data};
    fog_search_config config = read_search_config(area);
    return fog_minimize(&problem, &config, NULL, 0, whole(area, "seed"), front);
}

static void test_minimize_finds_the_same_fronts(void) {
    const cJSON *area = get(shared, "nsga2");
    fog_front *front = NULL;
    uint64_t calls = 0;
    OK(run_schaffer(area, schaffer, &calls, &front));
    same_front(front, area);
    CHECK(calls == fog_front_evaluations(front));
    fog_front_free(front);
    const cJSON *refused;
    cJSON_ArrayForEach(refused, get(area, "refused")) {
        FAILS(expected(refused), run_schaffer(refused, schaffer, NULL, &front));
    }
    const fog_variable variables[] = {
        {.kind = FOG_VARIABLE_KIND_REAL, .low = 0.0, .high = 5.0},
        {.kind = FOG_VARIABLE_KIND_INTEGER, .integer_low = -3, .integer_high = 3},
        {.kind = FOG_VARIABLE_KIND_CHOICE, .count = 4},
    };
    fog_problem problem = {.variables = variables,
                           .variable_count = 3,
                           .objective_count = 2,
                           .evaluate = mixed};
    cJSON_ArrayForEach(area, get(shared, "nsga2_more")) {
        fog_search_config config = read_search_config(area);
        OK(fog_minimize(&problem, &config, NULL, 0, whole(area, "seed"), &front));
        same_front(front, area);
        fog_front_free(front);
    }
}

static void test_minimize_tells_what_the_callback_did(void) {
    const cJSON *area = get(shared, "nsga2");
    fog_front *front = NULL;
    uint64_t calls = 0;
    FAILS(FOG_STATUS_HOST_CALLBACK, run_schaffer(area, gives_up, &calls, &front));
    CHECK(calls == 1);
    CHECK(strcmp(fog_last_error_message(), "evaluate returned 7") == 0);
    FAILS(FOG_STATUS_NOT_FINITE, run_schaffer(area, not_finite, NULL, &front));
    FAILS(FOG_STATUS_NOT_FINITE, run_schaffer(area, writes_nothing, NULL, &front));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, run_schaffer(area, NULL, NULL, &front));
    CHECK(front == NULL);
}

static void test_minimize_takes_first_genomes_and_no_bad_ones(void) {
    fog_variable variable = {.kind = FOG_VARIABLE_KIND_REAL, .low = -10.0, .high = 10.0};
    fog_problem problem = {
        .variables = &variable, .variable_count = 1, .objective_count = 2, .evaluate = schaffer};
    fog_search_config config;
    OK(fog_search_config_default(&config));
    config.population = 4;
    config.generations = 0;
    const double first[] = {0.0, 2.0, 1.0};
    fog_front *front = NULL;
    OK(fog_minimize(&problem, &config, first, 3, 1, &front));
    fog_individual found;
    OK(fog_front_individual(front, 0, &found));
    CHECK(found.genes[0] == 0.0 && found.objectives[1] == 4.0);
    fog_front_free(front);
    const double outside[] = {11.0};
    FAILS(FOG_STATUS_INVALID_PROBLEM, fog_minimize(&problem, &config, outside, 1, 1, &front));
    problem.variable_count = 0;
    FAILS(FOG_STATUS_INVALID_PROBLEM, fog_minimize(&problem, &config, NULL, 0, 1, &front));
    problem.variable_count = 1;
    variable.kind = 3;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_minimize(&problem, &config, NULL, 0, 1, &front));
}

static const double KNOWN[] = {0.0, 1.0, 0.5, 0.5, 1.0, 0.0};

static void test_a_search_goes_on_from_what_was_saved(void) {
    const fog_variable variable = {.kind = FOG_VARIABLE_KIND_REAL, .low = -10.0, .high = 10.0};
    fog_problem problem = {
        .variables = &variable, .variable_count = 1, .objective_count = 2, .evaluate = schaffer};
    double directions[2 * 20];
    size_t count = 0;
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_reference_directions(2, 19, NULL, 0, &count));
    CHECK(count == 20);
    OK(fog_reference_directions(2, 19, directions, count, &count));
    CHECK(directions[0] == 0.0 && directions[1] == 1.0);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_reference_directions(0, 1, NULL, 0, &count));
    fog_search_config config;
    OK(fog_search_config_default(&config));
    config.population = 20;
    config.generations = 12;
    config.directions = directions;
    config.direction_count = count;
    for (int32_t selection = 0; selection < 3; selection++) {
        config.selection = selection;
        fog_front *whole_front, *front;
        OK(fog_minimize(&problem, &config, NULL, 0, 5, &whole_front));

        fog_search *search;
        OK(fog_search_start(&problem, &config, NULL, 0, 5, &search));
        for (int i = 0; i < 4; i++) {
            CHECK(fog_search_ended(search) == FOG_ENDED_NOT_YET);
            OK(fog_search_step(search, &problem));
        }
        fog_population population;
        OK(fog_search_population(search, &population));
        CHECK(population.size == 20 && population.generation == 4 && population.evaluations == 100);
        CHECK(population.gene_count == 1 && population.objective_count == 2);
        CHECK(population.objectives[0] == population.genes[0] * population.genes[0]);
        CHECK(population.violations[19] == 0.0);
        size_t len = 0;
        FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_search_save(search, NULL, 0, &len));
        uint8_t *state = malloc(len);
        OK(fog_search_save(search, state, len, &len));
        fog_search_free(search);

        FAILS(FOG_STATUS_INVALID_PROBLEM,
              fog_search_resume(&problem, &config, state, len / 2, &search));
        OK(fog_search_resume(&problem, &config, state, len, &search));
        free(state);
        problem.objective_count = 3;
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_search_step(search, &problem));
        problem.objective_count = 2;
        uint64_t calls = 0;
        fog_problem broken = problem;
        broken.evaluate = gives_up;
        broken.user_data = &calls;
        FAILS(FOG_STATUS_HOST_CALLBACK, fog_search_step(search, &broken));
        while (fog_search_ended(search) == FOG_ENDED_NOT_YET) {
            OK(fog_search_step(search, &problem));
        }
        CHECK(fog_search_ended(search) == FOG_ENDED_GENERATIONS);
        OK(fog_search_front(search, &front));
        fog_search_free(search);
        CHECK(fog_front_size(front) == fog_front_size(whole_front));
        for (size_t i = 0; i < fog_front_size(front); i++) {
            fog_individual ours, theirs;
            OK(fog_front_individual(front, i, &ours));
            OK(fog_front_individual(whole_front, i, &theirs));
            CHECK(ours.genes[0] == theirs.genes[0]);
        }
        fog_front_free(front);
        fog_front_free(whole_front);
    }
    fog_front *front = NULL;
    config.selection = 3;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_minimize(&problem, &config, NULL, 0, 5, &front));
    CHECK(front == NULL);
}

static void test_an_order_is_found(void) {
    const fog_problem problem = {
        .variable_count = 6, .is_permutation = true, .objective_count = 1, .evaluate = disorder};
    fog_search_config config;
    OK(fog_search_config_default(&config));
    config.has_stagnation = true;
    config.stagnation_generations = 50;
    fog_search *search;
    OK(fog_search_start(&problem, &config, NULL, 0, 1, &search));
    while (fog_search_ended(search) == FOG_ENDED_NOT_YET) {
        OK(fog_search_step(search, &problem));
    }
    CHECK(fog_search_ended(search) == FOG_ENDED_STAGNATION);
    fog_front *front;
    OK(fog_search_front(search, &front));
    fog_individual best;
    OK(fog_front_individual(front, 0, &best));
    for (size_t at = 0; at < 6; at++) {
        CHECK(best.genes[at] == (double)(5 - at));
    }
    fog_front_free(front);
    fog_search_free(search);
}

static void test_fronts_are_measured(void) {
    const double points[] = {1.0, 2.0, 2.0, 1.0, 2.0, 2.0, 3.0, 3.0};
    uint32_t ranks[4];
    OK(fog_non_dominated_sort(points, 4, 2, ranks));
    CHECK(ranks[0] == 0 && ranks[1] == 0 && ranks[2] == 1 && ranks[3] == 2);
    const double corner[] = {2.0, 2.0}, ends[] = {0.0, 1.0, 1.0, 0.0};
    double value = -1.0;
    OK(fog_hypervolume(KNOWN, 3, 2, corner, &value));
    CHECK(value == 3.25);
    OK(fog_igd(KNOWN, 3, KNOWN, 3, 2, &value));
    CHECK(value == 0.0);
    const double far[] = {0.0, 2.0};
    OK(fog_igd_plus(far, 1, KNOWN, 1, 2, &value));
    CHECK(value == 1.0);
    OK(fog_spacing(KNOWN, 3, 2, &value));
    CHECK(value == 0.0);
    OK(fog_spread(KNOWN, 3, ends, 2, 2, &value));
    CHECK(value == 0.0);
    double zero = 0.0;
    const double nan[] = {zero / zero, 1.0};
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_non_dominated_sort(nan, 1, 2, ranks));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_hypervolume(nan, 1, 2, corner, &value));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_hypervolume(NULL, 1, 2, corner, &value));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_spacing(KNOWN, 1, 2, &value));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_igd(KNOWN, 3, KNOWN, 0, 2, &value));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_non_dominated_sort(points, 4, 0, ranks));
}

/* ---- placement ---------------------------------------------------------------------------- */

static int32_t priority_named(const char *name) {
    const char *names[] = {"critical", "high", "normal", "low", "bulk"};
    const fog_priority values[] = {FOG_PRIORITY_CRITICAL, FOG_PRIORITY_HIGH, FOG_PRIORITY_NORMAL,
                                   FOG_PRIORITY_LOW, FOG_PRIORITY_BULK};
    for (size_t i = 0; i < 5; i++) {
        if (strcmp(names[i], name) == 0) {
            return values[i];
        }
    }
    return -1;
}

static int32_t named(const char *name, const char *const *names, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    fprintf(stderr, "the vectors have an unknown %s\n", name);
    exit(2);
}

static int32_t tier_named(const char *name) {
    const char *const names[] = {"bronze", "silver", "gold", "platinum"};
    return named(name, names, 4);
}

static int32_t domain_named(const char *name) {
    const char *const names[] = {"node", "zone", "region", "operator"};
    return named(name, names, 4);
}

static int32_t strategy_named(const char *name) {
    const char *const names[] = {"nsga_ii",     "latency_first", "load_balance",
                                 "trust_first", "cost_optimize", "round_robin",
                                 "bin_pack",    "topology_spread"};
    return named(name, names, 8);
}

static int32_t constraint_named(const char *name) {
    const char *const names[] = {
        "excluded", "trust",        "latency",           "cost",      "cpu",    "memory",
        "run_time", "disk",         "gpu",               "bandwidth", "region", "price",
        "deadline", "tier_latency", "tier_availability", "tier_errors"};
    return named(name, names, FOG_CONSTRAINT_COUNT);
}

static const char **read_texts(const cJSON *items, size_t *count) {
    *count = (size_t)cJSON_GetArraySize(items);
    const char **texts = must(calloc(*count + 1, sizeof *texts));
    for (size_t i = 0; i < *count; i++) {
        texts[i] = cJSON_GetStringValue(cJSON_GetArrayItem(items, (int)i));
    }
    return texts;
}

static fog_job *read_jobs(const cJSON *items, size_t *count) {
    *count = (size_t)cJSON_GetArraySize(items);
    fog_job *jobs = must(calloc(*count + 1, sizeof *jobs));
    const cJSON *item;
    size_t i = 0;
    cJSON_ArrayForEach(item, items) {
        fog_job *job = &jobs[i++];
        OK(fog_job_default(job));
        job->id = text(item, "id");
        job->cpu_millis = whole(item, "cpu_millis");
        job->memory_bytes = whole(item, "memory_bytes");
        job->duration_ms = whole(item, "duration_ms");
        job->priority = priority_named(text(item, "priority"));
        job->min_trust = number(item, "min_trust");
        job->has_max_cost = maybe(item, "max_cost") != NULL;
        job->max_cost = job->has_max_cost ? whole(item, "max_cost") : 0;
        job->has_max_latency_ms = maybe(item, "max_latency_ms") != NULL;
        job->max_latency_ms = job->has_max_latency_ms ? number(item, "max_latency_ms") : 0;
        job->excluded = read_texts(get(item, "excluded"), &job->excluded_count);
        job->disk_bytes = whole(item, "disk_bytes");
        job->gpus = whole(item, "gpus");
        job->bandwidth_bps = whole(item, "bandwidth_bps");
        job->input_bytes = whole(item, "input_bytes");
        job->input_on = read_texts(get(item, "input_on"), &job->input_on_count);
        job->has_max_price = maybe(item, "max_price") != NULL;
        job->max_price = job->has_max_price ? whole(item, "max_price") : 0;
        job->has_deadline_ms = maybe(item, "deadline_ms") != NULL;
        job->deadline_ms = job->has_deadline_ms ? whole(item, "deadline_ms") : 0;
        job->regions = read_texts(get(item, "regions"), &job->region_count);
        job->tier = tier_named(text(item, "tier"));
        job->affinity = read_texts(get(item, "affinity"), &job->affinity_count);
        job->anti_affinity = read_texts(get(item, "anti_affinity"), &job->anti_affinity_count);
        const cJSON *bound = maybe(item, "spread");
        if (bound != NULL) {
            fog_job_spread *spread = must(calloc(1, sizeof *spread));
            spread->group = text(bound, "group");
            spread->over = domain_named(text(bound, "over"));
            spread->most = (uint32_t)whole(bound, "most");
            job->spread = spread;
        }
        job->gang = maybe(item, "gang") != NULL ? text(item, "gang") : NULL;
        job->has_replicas = maybe(item, "replicas") != NULL;
        job->replicas = job->has_replicas ? (uint8_t)whole(item, "replicas") : 0;
        job->preemptible = truth(item, "preemptible");
    }
    return jobs;
}

static void free_jobs(fog_job *jobs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free((void *)jobs[i].excluded);
        free((void *)jobs[i].input_on);
        free((void *)jobs[i].regions);
        free((void *)jobs[i].affinity);
        free((void *)jobs[i].anti_affinity);
        free((void *)jobs[i].spread);
    }
    free(jobs);
}

static fog_node *read_nodes(const cJSON *items, size_t *count) {
    *count = (size_t)cJSON_GetArraySize(items);
    fog_node *nodes = must(calloc(*count + 1, sizeof *nodes));
    const cJSON *item;
    size_t i = 0;
    cJSON_ArrayForEach(item, items) {
        fog_node *node = &nodes[i++];
        OK(fog_node_default(node));
        node->id = text(item, "id");
        node->cpu_millis_free = whole(item, "cpu_millis_free");
        node->cpu_millis_total = whole(item, "cpu_millis_total");
        node->memory_bytes_free = whole(item, "memory_bytes_free");
        node->speed = number(item, "speed");
        node->latency_ms = number(item, "latency_ms");
        node->trust = number(item, "trust");
        node->price_per_cpu_second = whole(item, "price_per_cpu_second");
        node->disk_bytes_free = whole(item, "disk_bytes_free");
        node->gpus_free = whole(item, "gpus_free");
        node->bandwidth_bps_free = whole(item, "bandwidth_bps_free");
        node->has_ask_per_cpu_second = maybe(item, "ask_per_cpu_second") != NULL;
        node->ask_per_cpu_second =
            node->has_ask_per_cpu_second ? whole(item, "ask_per_cpu_second") : 0;
        node->region = text(item, "region");
        node->zone = text(item, "zone");
        node->operator_name = text(item, "operator");
        node->has_availability = maybe(item, "availability") != NULL;
        node->availability = node->has_availability ? number(item, "availability") : 0;
        node->has_error_rate = maybe(item, "error_rate") != NULL;
        node->error_rate = node->has_error_rate ? number(item, "error_rate") : 0;
    }
    return nodes;
}

static void read_preference(const cJSON *item, fog_preference *preference) {
    memset(preference, 0, sizeof *preference);
    const cJSON *values = maybe(item, "weights");
    if (values != NULL) {
        preference->kind = FOG_PREFERENCE_KIND_WEIGHTS;
        for (int i = 0; i < FOG_OBJECTIVE_COUNT; i++) {
            preference->weights[i] = cJSON_GetNumberValue(cJSON_GetArrayItem(values, i));
        }
    }
    values = maybe(item, "lexicographic");
    if (values != NULL) {
        preference->kind = FOG_PREFERENCE_KIND_LEXICOGRAPHIC;
        for (int i = 0; i < FOG_OBJECTIVE_COUNT; i++) {
            preference->order[i] = (size_t)cJSON_GetNumberValue(cJSON_GetArrayItem(values, i));
        }
    }
}

static fog_placing read_placing(const cJSON *area, const fog_nsga2_config *config) {
    fog_placing placing = {.strategy = strategy_named(text(area, "strategy")),
                           .config = config,
                           .seed = whole(area, "seed")};
    placing.sharing = strcmp(text(area, "sharing"), "queued") == 0 ? FOG_SHARING_QUEUED
                                                                   : FOG_SHARING_CONCURRENT;
    read_preference(get(area, "preference"), &placing.preference);
    return placing;
}

/* Leaves out what does not fit if there is a `left_out` to receive it. */
static fog_status run_place(const cJSON *area, const cJSON *job_items, fog_plan **plan,
                            fog_left_out **left_out) {
    size_t job_count, node_count;
    fog_job *jobs = read_jobs(job_items, &job_count);
    fog_node *nodes = read_nodes(get(area, "nodes"), &node_count);
    fog_nsga2_config config = read_config(area);
    fog_placing placing = read_placing(area, &config);
    fog_status status =
        left_out == NULL
            ? fog_place(jobs, job_count, nodes, node_count, &placing, plan)
            : fog_place_what_fits(jobs, job_count, nodes, node_count, &placing, plan, left_out);
    free_jobs(jobs, job_count);
    free(nodes);
    return status;
}

static void same_plan(const fog_plan *plan, const cJSON *area) {
    const cJSON *chosen = get(area, "chosen");
    const cJSON *assignment = get(chosen, "assignment");
    size_t index = fog_plan_chosen(plan);
    CHECK(fog_plan_size(plan) == whole(area, "front_size"));
    CHECK(index == whole(area, "chosen_index"));
    fog_point point;
    OK(fog_plan_point(plan, index, &point));
    same_numbers(point.objectives, FOG_OBJECTIVE_COUNT, get(chosen, "objectives"));
    CHECK(strcmp(point.cost.text, text(chosen, "cost")) == 0);
    CHECK(strcmp(point.price.text, text(chosen, "price")) == 0);
    CHECK(point.assignment_count == (size_t)cJSON_GetArraySize(assignment));
    fog_assignment placed;
    for (size_t i = 0; i < point.assignment_count; i++) {
        const cJSON *pair = cJSON_GetArrayItem(assignment, (int)i);
        OK(fog_plan_assignment(plan, index, i, &placed));
        CHECK(strcmp(placed.job, cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0))) == 0);
        CHECK(strcmp(placed.node, cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1))) == 0);
    }
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_plan_assignment(plan, index, point.assignment_count, &placed));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_plan_point(plan, fog_plan_size(plan), &point));
    char *explanation = NULL;
    OK(fog_plan_explain(plan, &explanation));
    CHECK(strcmp(explanation, text(area, "explanation")) == 0);
    fog_string_free(explanation);
}

static void test_placement_chooses_the_same_plans(void) {
    const cJSON *area = get(shared, "place");
    fog_plan *plan = NULL;
    OK(run_place(area, get(area, "jobs"), &plan, NULL));
    same_plan(plan, area);
    fog_plan_free(plan);
    const cJSON *infeasible = get(area, "infeasible");
    FAILS(expected(infeasible), run_place(area, get(infeasible, "jobs"), &plan, NULL));
    cJSON_ArrayForEach(area, get(shared, "place_more")) {
        if (expected(area) != FOG_STATUS_OK) {
            FAILS(expected(area), run_place(area, get(area, "jobs"), &plan, NULL));
            continue;
        }
        OK(run_place(area, get(area, "jobs"), &plan, NULL));
        same_plan(plan, area);
        fog_plan_free(plan);
    }
}

static void same_rule(const fog_left_out *left_out, size_t index, size_t at, const cJSON *wanted) {
    fog_rule rule;
    char *group = NULL;
    OK(fog_left_out_rule(left_out, index, at, &rule));
    OK(fog_left_out_rule_group(left_out, index, at, &group));
    const cJSON *fields = maybe(wanted, "spread");
    if (fields != NULL) {
        CHECK(rule.kind == FOG_RULE_KIND_SPREAD);
        CHECK(rule.over == domain_named(text(fields, "over")));
        CHECK(rule.most == whole(fields, "most"));
        CHECK(strcmp(group, text(fields, "group")) == 0);
    } else if (maybe(wanted, "replicas") != NULL) {
        CHECK(rule.kind == FOG_RULE_KIND_REPLICAS);
        CHECK(rule.over == domain_named(text(wanted, "replicas")));
    } else if (maybe(wanted, "capacity") != NULL) {
        CHECK(rule.kind == FOG_RULE_KIND_CAPACITY);
        CHECK(rule.of == constraint_named(text(wanted, "capacity")));
    } else {
        CHECK(strcmp(cJSON_GetStringValue(wanted), "anti_affinity") == 0);
        CHECK(rule.kind == FOG_RULE_KIND_ANTI_AFFINITY);
    }
    CHECK((fields == NULL) == (strcmp(group, "") == 0));
    fog_string_free(group);
}

static void same_reason(const fog_left_out *left_out, size_t index, const fog_left_out_job *left,
                        const cJSON *reason) {
    const cJSON *fields = maybe(reason, "no_node");
    if (fields != NULL) {
        CHECK(left->reason == FOG_LEFT_OUT_REASON_NO_NODE);
        for (int i = 0; i < FOG_CONSTRAINT_COUNT; i++) {
            const cJSON *count = cJSON_GetArrayItem(get(fields, "removed_by"), i);
            CHECK(left->removed_by[i] == (uint32_t)cJSON_GetNumberValue(count));
        }
        CHECK(strcmp(left->node, text(fields, "nearest")) == 0);
        bool fails[FOG_CONSTRAINT_COUNT] = {false};
        const cJSON *item;
        cJSON_ArrayForEach(item, get(fields, "nearest_fails")) {
            fails[constraint_named(cJSON_GetStringValue(item))] = true;
        }
        CHECK(memcmp(fails, left->node_fails, sizeof fails) == 0);
    } else if ((fields = maybe(reason, "no_common_node")) != NULL) {
        CHECK(left->reason == FOG_LEFT_OUT_REASON_NO_COMMON_NODE);
        CHECK(left->shared == whole(fields, "shared"));
        const cJSON *jobs = get(fields, "jobs");
        CHECK(left->together_count == (size_t)cJSON_GetArraySize(jobs));
        char id[FOG_ID_SIZE];
        for (size_t i = 0; i < left->together_count; i++) {
            OK(fog_left_out_together(left_out, index, i, &id));
            CHECK(strcmp(id, cJSON_GetStringValue(cJSON_GetArrayItem(jobs, (int)i))) == 0);
        }
    } else if ((fields = maybe(reason, "no_room")) != NULL) {
        CHECK(left->reason == FOG_LEFT_OUT_REASON_NO_ROOM);
        CHECK(strcmp(left->node, text(fields, "node")) == 0);
        const cJSON *lacks = get(fields, "lacks");
        CHECK(left->lacks.cpu_millis == whole(lacks, "cpu_millis"));
        CHECK(left->lacks.memory_bytes == whole(lacks, "memory_bytes"));
        CHECK(left->lacks.disk_bytes == whole(lacks, "disk_bytes"));
        CHECK(left->lacks.gpus == whole(lacks, "gpus"));
        CHECK(left->lacks.bandwidth_bps == whole(lacks, "bandwidth_bps"));
    } else if ((fields = maybe(reason, "late")) != NULL) {
        CHECK(left->reason == FOG_LEFT_OUT_REASON_LATE);
        CHECK(left->late_ms == whole(fields, "late_ms"));
    } else if (maybe(reason, "with") != NULL) {
        CHECK(left->reason == FOG_LEFT_OUT_REASON_GOES_WITH);
        CHECK(strcmp(left->other, text(reason, "with")) == 0);
    } else {
        CHECK(left->reason == FOG_LEFT_OUT_REASON_CROWDED);
        const cJSON *rules = get(get(reason, "crowded"), "rules");
        CHECK(left->rule_count == (size_t)cJSON_GetArraySize(rules));
        for (size_t i = 0; i < left->rule_count; i++) {
            same_rule(left_out, index, i, cJSON_GetArrayItem(rules, (int)i));
        }
    }
}

static void test_placement_leaves_out_the_same_jobs(void) {
    const cJSON *area;
    cJSON_ArrayForEach(area, get(shared, "place_what_fits")) {
        fog_plan *plan = NULL;
        fog_left_out *left_out = NULL;
        if (expected(area) != FOG_STATUS_OK) {
            FAILS(expected(area), run_place(area, get(area, "jobs"), &plan, &left_out));
            continue;
        }
        OK(run_place(area, get(area, "jobs"), &plan, &left_out));
        CHECK((plan != NULL) == (maybe(area, "chosen") != NULL));
        if (plan != NULL) {
            same_plan(plan, area);
        }
        size_t count = fog_left_out_count(left_out);
        CHECK(count == (size_t)cJSON_GetArraySize(get(area, "left_out")));
        fog_left_out_job left;
        char *why = NULL;
        for (size_t i = 0; i < count; i++) {
            const cJSON *item = cJSON_GetArrayItem(get(area, "left_out"), (int)i);
            OK(fog_left_out_get(left_out, i, &left));
            CHECK(strcmp(left.job, text(item, "job")) == 0);
            same_reason(left_out, i, &left, get(item, "reason"));
            OK(fog_left_out_explain(left_out, i, &why));
            CHECK(strcmp(why, text(item, "text")) == 0);
            fog_string_free(why);
        }
        char id[FOG_ID_SIZE];
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_get(left_out, count, &left));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_explain(left_out, count, &why));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_together(left_out, 0, 99, &id));
        fog_rule rule;
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_rule(left_out, 0, 99, &rule));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_rule(left_out, count, 0, &rule));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_rule_group(left_out, 0, 99, &why));
        fog_left_out_free(left_out);
        fog_plan_free(plan);
    }
}

static void test_tiers_have_the_same_terms(void) {
    const cJSON *area, *item;
    fog_terms terms;
    cJSON_ArrayForEach(area, get(shared, "tiers")) {
        OK(fog_tier_terms(tier_named(text(area, "tier")), &terms));
        CHECK(terms.replicas == whole(area, "replicas"));
        bool distinct[4] = {false};
        cJSON_ArrayForEach(item, get(area, "distinct")) {
            distinct[domain_named(cJSON_GetStringValue(item))] = true;
        }
        CHECK(memcmp(distinct, terms.distinct, sizeof distinct) == 0);
        CHECK(terms.latency_ms_p95 == number(area, "latency_ms_p95"));
        CHECK(terms.availability == number(area, "availability"));
        CHECK(terms.error_rate == number(area, "error_rate"));
        CHECK(terms.preempted == (maybe(area, "preemption_notice_ms") != NULL));
        CHECK(!terms.preempted ||
              terms.preemption_notice_ms == whole(area, "preemption_notice_ms"));
        CHECK(terms.price_permille == whole(area, "price_permille"));
    }
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_tier_terms(4, &terms));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_tier_terms(FOG_TIER_GOLD, NULL));
}

/* What is zero says nothing, but for the priority and the speed. */
static void test_zeroed_jobs_and_nodes_are_placed(void) {
    fog_job job = {.id = "01010101010101010101010101010101", .cpu_millis = 1};
    fog_node node = {
        .id = "0202020202020202020202020202020202020202020202020202020202020202",
        .cpu_millis_free = 1,
        .cpu_millis_total = 1,
        .speed = 1};
    fog_plan *plan = NULL;
    OK(fog_place(&job, 1, &node, 1, NULL, &plan));
    CHECK(fog_plan_size(plan) == 1);
    fog_plan_free(plan);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_job_default(NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_node_default(NULL));
    fog_left_out *left_out = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_place_what_fits(&job, 1, &node, 1, NULL, NULL, &left_out));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_place_what_fits(&job, 1, &node, 1, NULL, &plan, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_get(NULL, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_rule(NULL, 0, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_left_out_rule_group(NULL, 0, 0, NULL));
    CHECK(fog_left_out_count(NULL) == 0);
    fog_left_out_free(NULL);
}

/* Refused by fog_place() and by fog_place_what_fits(). */
static void refused(fog_status status, const fog_job *job, const fog_node *node,
                    const fog_placing *placing) {
    fog_plan *plan = NULL;
    fog_left_out *left_out = NULL;
    FAILS(status, fog_place(job, 1, node, 1, placing, &plan));
    FAILS(status, fog_place_what_fits(job, 1, node, 1, placing, &plan, &left_out));
}

static void test_placement_refuses_what_makes_no_sense(void) {
    const fog_status argument = FOG_STATUS_INVALID_ARGUMENT, problem = FOG_STATUS_INVALID_PROBLEM;
    fog_job usual, job;
    fog_node offered, node;
    OK(fog_job_default(&usual));
    OK(fog_node_default(&offered));
    usual.id = "01010101010101010101010101010101";
    offered.id = "0202020202020202020202020202020202020202020202020202020202020202";
    fog_placing placing = {.sharing = 2};
    refused(argument, &usual, &offered, &placing);
    placing = (fog_placing){.strategy = 8};
    refused(argument, &usual, &offered, &placing);
    placing = (fog_placing){.strategy = -1};
    refused(argument, &usual, &offered, &placing);
    placing = (fog_placing){.preference = {.kind = -1}};
    refused(argument, &usual, &offered, &placing);
    job = usual;
    job.priority = 5;
    refused(argument, &job, &offered, NULL);
    job = usual;
    job.tier = 4;
    refused(argument, &job, &offered, NULL);
    job = usual;
    job.id = "a job";
    refused(argument, &job, &offered, NULL);
    job = usual;
    job.affinity_count = 1;
    refused(argument, &job, &offered, NULL);
    const char *other = "03030303030303030303030303030303";
    job.affinity = &other;
    refused(problem, &job, &offered, NULL);
    job = usual;
    job.anti_affinity = &usual.id;
    job.anti_affinity_count = 1;
    refused(problem, &job, &offered, NULL);
    fog_job_spread spread = {.group = "web", .over = 4, .most = 1};
    job = usual;
    job.spread = &spread;
    refused(argument, &job, &offered, NULL);
    spread = (fog_job_spread){.over = FOG_DOMAIN_ZONE, .most = 1};
    refused(argument, &job, &offered, NULL);
    spread.group = "web";
    spread.most = 0;
    refused(problem, &job, &offered, NULL);
    job = usual;
    job.has_replicas = true;
    refused(problem, &job, &offered, NULL);
    double zero = 0.0;
    job = usual;
    job.min_trust = zero / zero;
    refused(problem, &job, &offered, NULL);
    node = offered;
    node.speed = -1;
    refused(problem, &usual, &node, NULL);
    node = offered;
    node.has_availability = true;
    node.availability = 1.5;
    refused(problem, &usual, &node, NULL);
    node = offered;
    node.zone = "\xff";
    refused(argument, &usual, &node, NULL);
}

/* ---- ledger ------------------------------------------------------------------------------- */

static fog_status run_step(const fog_ledger *ledger, const cJSON *step, fog_receipt *receipt) {
    const char *op = text(step, "op");
    if (strcmp(op, "open") == 0) {
        bool issuer = strcmp(text(step, "kind"), "issuer") == 0;
        return fog_ledger_open_account(
            ledger, text(step, "account"),
            issuer ? FOG_ACCOUNT_KIND_ISSUER : FOG_ACCOUNT_KIND_HOLDER, receipt);
    }
    const char *id = text(step, "id");
    if (strcmp(op, "transfer") == 0) {
        return fog_ledger_transfer(ledger, id, text(step, "from"), text(step, "to"),
                                   text(step, "amount"), receipt);
    }
    if (strcmp(op, "reserve") == 0) {
        return fog_ledger_reserve(ledger, id, text(step, "from"), text(step, "to"),
                                  text(step, "amount"), receipt);
    }
    if (strcmp(op, "post") == 0) {
        const cJSON *amount = maybe(step, "amount");
        return fog_ledger_post(ledger, id, text(step, "reservation"),
                               amount == NULL ? NULL : cJSON_GetStringValue(amount), receipt);
    }
    CHECK(strcmp(op, "void") == 0);
    return fog_ledger_void(ledger, id, text(step, "reservation"), receipt);
}

static void test_the_ledger_takes_the_same_steps(void) {
    const cJSON *area = get(shared, "ledger");
    fog_ledger *ledger = NULL;
    OK(fog_ledger_in_memory(&ledger));
    const cJSON *step;
    cJSON_ArrayForEach(step, get(area, "steps")) {
        fog_receipt receipt;
        fog_status status = run_step(ledger, step, &receipt);
        CHECK(status == expected(step));
        if (status == FOG_STATUS_OK) {
            CHECK(receipt.replayed == truth(step, "replayed"));
            CHECK(receipt.sequence == whole(step, "sequence"));
        }
    }
    const cJSON *balance;
    fog_amount amount;
    cJSON_ArrayForEach(balance, get(area, "balances")) {
        OK(fog_ledger_balance(ledger, balance->string, &amount));
        CHECK(strcmp(amount.text, cJSON_GetStringValue(balance)) == 0);
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, get(area, "accounts")) {
        fog_account account;
        OK(fog_ledger_account(ledger, text(item, "account"), &account));
        CHECK(strcmp(account.id, text(item, "account")) == 0);
        CHECK((account.kind == FOG_ACCOUNT_KIND_ISSUER) ==
              (strcmp(text(item, "kind"), "issuer") == 0));
        CHECK(strcmp(account.credits_posted.text, text(item, "credits_posted")) == 0);
        CHECK(strcmp(account.debits_posted.text, text(item, "debits_posted")) == 0);
        CHECK(strcmp(account.credits_pending.text, text(item, "credits_pending")) == 0);
        CHECK(strcmp(account.debits_pending.text, text(item, "debits_pending")) == 0);
        CHECK(strcmp(account.available.text, text(item, "available")) == 0);
        OK(fog_ledger_available(ledger, account.id, &amount));
        CHECK(strcmp(amount.text, account.available.text) == 0);
    }
    const cJSON *unknown = get(area, "unknown_account");
    FAILS(expected(unknown), fog_ledger_balance(ledger, text(unknown, "account"), &amount));
    fog_verification verification;
    OK(fog_ledger_verify(ledger, &verification));
    const cJSON *verify = get(area, "verify");
    CHECK(verification.entries == whole(verify, "entries"));
    CHECK(verification.accounts == whole(verify, "accounts"));
    CHECK(verification.open_reservations == whole(verify, "open_reservations"));
    OK(fog_ledger_verify(ledger, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_ledger_open_account(ledger, "00000000000000000000000000000001", 3, NULL));
    fog_ledger_free(ledger);
}

static void test_a_ledger_file_outlives_its_handle_and_has_one_owner(void) {
    char path[] = "/tmp/fogcompute-c-XXXXXX";
    char file[64];
    if (mkdtemp(path) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    snprintf(file, sizeof file, "%s/ledger.sqlite", path);
    const char *mint = "000000000000000000000000000000a0";
    const char *alice = "000000000000000000000000000000a1";
    fog_ledger *ledger = NULL, *second = NULL;
    OK(fog_ledger_open(file, &ledger));
    OK(fog_ledger_open_account(ledger, mint, FOG_ACCOUNT_KIND_ISSUER, NULL));
    OK(fog_ledger_open_account(ledger, alice, FOG_ACCOUNT_KIND_HOLDER, NULL));
    OK(fog_ledger_transfer(ledger, "00000000000000000000000000000001", mint, alice, "42", NULL));
    FAILS(FOG_STATUS_STORAGE_LOCKED, fog_ledger_open(file, &second));
    CHECK(second == NULL);
    fog_ledger_free(ledger);
    OK(fog_ledger_open(file, &ledger));
    fog_amount amount;
    OK(fog_ledger_balance(ledger, alice, &amount));
    CHECK(strcmp(amount.text, "42") == 0);
    fog_ledger_free(ledger);
    FAILS(FOG_STATUS_STORAGE_NO_FOLDER, fog_ledger_open("/nowhere/ledger.sqlite", &ledger));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_open("", &ledger));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_open(":memory:", &ledger));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_open("file:ledger", &ledger));
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    CHECK(system(command) == 0);
}

static const char *const MINT = "000000000000000000000000000000a0";
static const char *const ANA = "000000000000000000000000000000a1";
static const char *const BEN = "000000000000000000000000000000a2";
static const uint64_t NEVER_MS = 4102444800000; /* the year 2100 */

/* Identifiers of the tests below: a number as 32 digits. */
static const char *id_of(unsigned n) {
    static char ids[4][FOG_ID_SIZE];
    static unsigned next;
    char *id = ids[next++ % 4];
    snprintf(id, FOG_ID_SIZE, "%032x", n);
    return id;
}

/* Ana has 10 of what the mint gave out: 4 entries. */
static fog_ledger *funded(void) {
    fog_ledger *ledger = NULL;
    OK(fog_ledger_in_memory(&ledger));
    OK(fog_ledger_open_account(ledger, MINT, FOG_ACCOUNT_KIND_ISSUER, NULL));
    OK(fog_ledger_open_account(ledger, ANA, FOG_ACCOUNT_KIND_HOLDER, NULL));
    OK(fog_ledger_open_account(ledger, BEN, FOG_ACCOUNT_KIND_HOLDER, NULL));
    OK(fog_ledger_transfer(ledger, id_of(1), MINT, ANA, "10", NULL));
    return ledger;
}

static bool has(const fog_ledger *ledger, const char *account, const char *amount) {
    fog_amount balance;
    OK(fog_ledger_balance(ledger, account, &balance));
    return strcmp(balance.text, amount) == 0;
}

static void test_a_batch_is_all_or_nothing(void) {
    fog_ledger *ledger = funded();
    fog_batch *batch = NULL;
    OK(fog_batch_new(&batch));
    const char *gold = "000000000000000000000000000000b0";
    fog_memo memo = {.code = 7, .reference = {1, 2, 3}};
    fog_account_limits limits = {.credits_must_not_exceed_debits = false};
    strcpy(limits.spend_per_day.text, "9");
    uint8_t secret[FOG_KEY_BYTES] = {7}, key[FOG_KEY_BYTES], found_key[FOG_KEY_BYTES];
    OK(fog_owner_key(secret, sizeof secret, key));
    OK(fog_batch_open_account(batch, gold, FOG_ACCOUNT_KIND_HOLDER, 1));
    OK(fog_batch_transfer(batch, id_of(2), ANA, BEN, "1", &memo));
    OK(fog_batch_reserve(batch, id_of(3), ANA, BEN, "5", NEVER_MS, &memo));
    OK(fog_batch_post(batch, id_of(4), id_of(3), "2"));
    OK(fog_batch_reserve(batch, id_of(5), ANA, BEN, "3", 0, NULL));
    OK(fog_batch_void(batch, id_of(6), id_of(5)));
    OK(fog_batch_limit(batch, id_of(7), ANA, &limits));
    OK(fog_batch_own(batch, id_of(8), ANA, key, sizeof key));
    OK(fog_batch_close_account(batch, id_of(9), gold));
    CHECK(fog_batch_len(batch) == 9);
    fog_receipt receipts[9];
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_ledger_execute(ledger, batch, receipts, 8));
    CHECK(has(ledger, BEN, "0"));
    OK(fog_ledger_execute(ledger, batch, receipts, 9));
    CHECK(receipts[0].sequence == 5 && receipts[8].sequence == 13 && !receipts[8].replayed);
    OK(fog_ledger_execute(ledger, batch, receipts, 9));
    CHECK(receipts[0].sequence == 5 && receipts[8].replayed);
    CHECK(has(ledger, BEN, "3"));

    fog_ledger_entry entries[20], entry;
    size_t count = 0;
    OK(fog_ledger_history(ledger, BEN, 3, entries, 20, &count));
    const char *const kinds[] = {"transferred", "reserved", "posted", "reserved", "voided"};
    CHECK(count == 5);
    for (size_t i = 0; i < count; i++) {
        CHECK(strcmp(entries[i].kind, kinds[i]) == 0);
        CHECK(strcmp(entries[i].from, ANA) == 0 && strcmp(entries[i].to, BEN) == 0);
    }
    CHECK(entries[0].memo.code == 7 && entries[0].memo.reference[2] == 3);
    CHECK(entries[1].expires_unix_ms == NEVER_MS);
    CHECK(strcmp(entries[2].reservation, id_of(3)) == 0);
    CHECK(strcmp(entries[2].amount.text, "2") == 0);
    CHECK(strcmp(entries[2].released.text, "3") == 0);
    bool found = false;
    OK(fog_ledger_entry_of(ledger, id_of(7), &entry, &found));
    CHECK(found && strcmp(entry.limits.spend_per_day.text, "9") == 0);
    CHECK(*entry.limits.max_supply.text == 0);
    OK(fog_ledger_entry_of(ledger, id_of(99), &entry, &found));
    CHECK(!found);
    OK(fog_ledger_entries(ledger, 11, entries, 20, &count));
    CHECK(count == 2 && memcmp(entries[0].key, key, sizeof key) == 0);
    fog_ledger_head head;
    OK(fog_ledger_end(ledger, &head));
    CHECK(head.sequence == 13 && strcmp(head.chain, entries[1].chain) == 0);

    fog_account accounts[9];
    OK(fog_ledger_accounts(ledger, ANA, accounts, 9, &count));
    CHECK(count == 2 && accounts[1].closed && accounts[1].asset == 1);
    OK(fog_ledger_accounts(ledger, NULL, accounts, 2, &count));
    CHECK(count == 2 && strcmp(accounts[1].limits.spend_per_day.text, "9") == 0);
    CHECK(strcmp(accounts[1].spent.text, "3") == 0 && accounts[1].spent_day > 20000);
    OK(fog_ledger_owner(ledger, ANA, found_key, &found));
    CHECK(found && memcmp(found_key, key, sizeof key) == 0);
    OK(fog_ledger_owner(ledger, BEN, found_key, &found));
    CHECK(!found);
    fog_amount supply;
    OK(fog_ledger_supply(ledger, 0, &supply));
    CHECK(strcmp(supply.text, "10") == 0);
    fog_standing standing;
    OK(fog_ledger_balance_as_of(ledger, ANA, 4, &standing, &found));
    CHECK(found && strcmp(standing.balance.text, "10") == 0);
    OK(fog_ledger_balance_as_of_time(ledger, ANA, NEVER_MS, &standing, &found));
    CHECK(found && strcmp(standing.balance.text, "7") == 0);
    OK(fog_ledger_balance_as_of(ledger, ANA, 1, &standing, &found));
    CHECK(!found);
    OK(fog_ledger_expire(ledger, &count));
    CHECK(count == 0);

    OK(fog_batch_clear(batch));
    FAILS(FOG_STATUS_BATCH_EMPTY, fog_ledger_execute(ledger, batch, NULL, 0));
    OK(fog_batch_transfer(batch, id_of(20), ANA, BEN, "1", NULL));
    OK(fog_batch_transfer(batch, id_of(21), ANA, BEN, "7", NULL));
    FAILS(FOG_STATUS_INSUFFICIENT_FUNDS, fog_ledger_execute(ledger, batch, NULL, 0));
    CHECK(has(ledger, BEN, "3"));
    for (unsigned n = 0; n < 8190; n++) {
        OK(fog_batch_transfer(batch, id_of(20), ANA, BEN, "1", NULL));
    }
    FAILS(FOG_STATUS_BATCH_TOO_LARGE, fog_ledger_execute(ledger, batch, NULL, 0));
    fog_batch_free(batch);
    fog_batch_free(NULL);
    CHECK(fog_batch_len(NULL) == 0);
    fog_ledger_free(ledger);
}

static void test_every_refusal_of_the_ledger_has_its_status(void) {
    fog_ledger *ledger = funded();
    const char *gold = "000000000000000000000000000000b0";
    const char *shut = "000000000000000000000000000000b1";
    const char *bank = "000000000000000000000000000000b2";
    const char *nobody = "000000000000000000000000000000ee";
    fog_batch *batch = NULL;
    OK(fog_batch_new(&batch));
    OK(fog_batch_open_account(batch, gold, FOG_ACCOUNT_KIND_HOLDER, 1));
    OK(fog_batch_open_account(batch, shut, FOG_ACCOUNT_KIND_HOLDER, 0));
    OK(fog_batch_close_account(batch, id_of(2), shut));
    OK(fog_batch_open_account(batch, bank, FOG_ACCOUNT_KIND_ISSUER, 0));
    fog_account_limits limits = {.credits_must_not_exceed_debits = true};
    strcpy(limits.max_supply.text, "5");
    OK(fog_batch_limit(batch, id_of(3), bank, &limits));
    OK(fog_batch_reserve(batch, id_of(4), ANA, BEN, "2", 0, NULL));
    OK(fog_batch_post(batch, id_of(5), id_of(4), NULL));
    OK(fog_batch_reserve(batch, id_of(6), ANA, BEN, "2", 0, NULL));
    OK(fog_ledger_execute(ledger, batch, NULL, 0));
    fog_batch_free(batch);
    OK(fog_ledger_transfer(ledger, id_of(7), MINT, BEN, "340282366920938463463374607431768211443",
                           NULL));

    const char *id = "00000000000000000000000000000040";
#define REFUSED(status, from, to, amount) \
    FAILS(FOG_STATUS_##status, fog_ledger_transfer(ledger, id, from, to, amount, NULL))
    REFUSED(ZERO_AMOUNT, ANA, BEN, "0");
    REFUSED(INVALID_ARGUMENT, ANA, BEN, "-1");
    REFUSED(INVALID_ARGUMENT, ANA, BEN, "1.5");
    REFUSED(INVALID_ARGUMENT, ANA, BEN, "340282366920938463463374607431768211456");
    REFUSED(AMOUNT_OVERFLOW, MINT, ANA, "1000");
    REFUSED(UNKNOWN_ACCOUNT, ANA, nobody, "1");
    CHECK(strstr(fog_last_error_message(), nobody) != NULL);
    REFUSED(SAME_ACCOUNT, ANA, ANA, "1");
    REFUSED(ASSET_MISMATCH, ANA, gold, "1");
    REFUSED(ACCOUNT_CLOSED, ANA, shut, "1");
    REFUSED(INSUFFICIENT_FUNDS, ANA, BEN, "7");
    CHECK(strstr(fog_last_error_message(), "needs 7") != NULL);
    REFUSED(SUPPLY_EXCEEDED, bank, ANA, "6");
    REFUSED(CREDITS_EXCEED_DEBITS, ANA, bank, "1");
#undef REFUSED
    FAILS(FOG_STATUS_ID_REUSED, fog_ledger_transfer(ledger, id_of(1), MINT, ANA, "11", NULL));
    FAILS(FOG_STATUS_ACCOUNT_EXISTS,
          fog_ledger_open_account(ledger, ANA, FOG_ACCOUNT_KIND_ISSUER, NULL));
    FAILS(FOG_STATUS_ACCOUNT_IN_USE, fog_ledger_close_account(ledger, id, ANA, NULL));
    FAILS(FOG_STATUS_NOT_AN_ISSUER, fog_ledger_limit(ledger, id, ANA, &limits, NULL));
    limits = (fog_account_limits){.credits_must_not_exceed_debits = false};
    strcpy(limits.spend_per_day.text, "3");
    OK(fog_ledger_limit(ledger, id_of(8), ANA, &limits, NULL));
    FAILS(FOG_STATUS_QUOTA_EXCEEDED, fog_ledger_transfer(ledger, id, ANA, MINT, "2", NULL));
    memset(limits.spend_per_day.text, 'x', sizeof limits.spend_per_day.text);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_limit(ledger, id, ANA, &limits, NULL));
    FAILS(FOG_STATUS_UNKNOWN_RESERVATION, fog_ledger_void(ledger, id, nobody, NULL));
    FAILS(FOG_STATUS_NOT_A_RESERVATION, fog_ledger_void(ledger, id, id_of(1), NULL));
    FAILS(FOG_STATUS_RESERVATION_CLOSED, fog_ledger_post(ledger, id, id_of(4), NULL, NULL));
    FAILS(FOG_STATUS_POST_EXCEEDS_RESERVATION, fog_ledger_post(ledger, id, id_of(6), "3", NULL));
    FAILS(FOG_STATUS_NO_OWNER, fog_ledger_next_nonce(ledger, ANA, &(uint64_t){0}));
    size_t count = 0;
    FAILS(FOG_STATUS_UNKNOWN_ACCOUNT, fog_ledger_history(ledger, nobody, 0, NULL, 0, &count));
    OK(fog_ledger_verify(ledger, NULL));
    fog_ledger_free(ledger);
}

static void test_a_reservation_expires_by_itself(void) {
    fog_ledger *ledger = funded();
    fog_batch *batch = NULL;
    OK(fog_batch_new(&batch));
    OK(fog_batch_reserve(batch, id_of(2), ANA, BEN, "7", 1, NULL));
    FAILS(FOG_STATUS_EXPIRES_IN_PAST, fog_ledger_execute(ledger, batch, NULL, 0));
    /* A machine that is busy may come too late for so short a time: then for a longer one. */
    fog_status status = FOG_STATUS_EXPIRES_IN_PAST;
    for (uint64_t ahead_ms = 1; status == FOG_STATUS_EXPIRES_IN_PAST; ahead_ms *= 2) {
        struct timespec now;
        CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
        uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
        OK(fog_batch_clear(batch));
        OK(fog_batch_reserve(batch, id_of(2), ANA, BEN, "7", now_ms + ahead_ms, NULL));
        status = fog_ledger_execute(ledger, batch, NULL, 0);
    }
    OK(status);
    /* What she has is the same all the time; what she can spend is not. */
    fog_amount available = {""};
    while (strcmp(available.text, "10") != 0) {
        CHECK(has(ledger, ANA, "10"));
        OK(fog_ledger_available(ledger, ANA, &available));
    }
    FAILS(FOG_STATUS_RESERVATION_EXPIRED, fog_ledger_post(ledger, id_of(3), id_of(2), NULL, NULL));
    fog_batch_free(batch);
    fog_ledger_free(ledger);
}

static void test_owners_sign_and_auditors_check(void) {
    fog_ledger *ledger = funded(), *empty = NULL;
    uint8_t secret[FOG_KEY_BYTES] = {7}, other[FOG_KEY_BYTES] = {8}, key[FOG_KEY_BYTES];
    OK(fog_owner_key(secret, sizeof secret, key));
    OK(fog_ledger_own(ledger, id_of(2), ANA, key, sizeof key, NULL));
    uint64_t nonce = 0;
    OK(fog_ledger_next_nonce(ledger, ANA, &nonce));
    CHECK(nonce == 1);
    fog_batch *batch = NULL;
    OK(fog_batch_new(&batch));
    OK(fog_batch_transfer(batch, id_of(3), ANA, BEN, "4", NULL));
    uint8_t bytes[512];
    size_t len = 0, count = 0;
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_batch_sign(batch, ANA, nonce, NEVER_MS, secret,
                                                      sizeof secret, NULL, 0, &len));
    size_t needed = len;
#define SIGN(nonce, expires, secret) \
    OK(fog_batch_sign(batch, ANA, nonce, expires, secret, sizeof secret, bytes, sizeof bytes, &len))
#define SIGNED() fog_ledger_execute_signed(ledger, bytes, len, NULL, 0, &count)
    SIGN(nonce, NEVER_MS, other);
    CHECK(len == needed);
    FAILS(FOG_STATUS_SIGNATURE_FORGED, SIGNED());
    SIGN(nonce + 1, NEVER_MS, secret);
    FAILS(FOG_STATUS_NONCE_SKIPPED, SIGNED());
    SIGN(nonce, 1, secret);
    FAILS(FOG_STATUS_SIGNATURE_EXPIRED, SIGNED());
    SIGN(nonce, NEVER_MS, secret);
    bytes[needed - 70] ^= 1;
    FAILS(FOG_STATUS_SIGNATURE_FORGED, SIGNED());
    bytes[needed - 70] ^= 1;
    fog_receipt receipt = {0};
    OK(fog_ledger_execute_signed(ledger, bytes, len, &receipt, 1, &count));
    CHECK(count == 1 && receipt.sequence == 7 && has(ledger, BEN, "4"));
    FAILS(FOG_STATUS_SIGNATURE_REPLAYED, SIGNED());
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_ledger_execute_signed(ledger, bytes, 5, NULL, 0, &count));
    OK(fog_batch_clear(batch));
    OK(fog_batch_transfer(batch, id_of(4), BEN, ANA, "4", NULL));
    SIGN(2, NEVER_MS, secret);
    FAILS(FOG_STATUS_NOT_THE_OWNER, SIGNED());
    OK(fog_batch_clear(batch));
    OK(fog_batch_open_account(batch, id_of(77), FOG_ACCOUNT_KIND_HOLDER, 0));
    SIGN(2, NEVER_MS, secret);
    FAILS(FOG_STATUS_NOT_FOR_OWNERS, SIGNED());
#undef SIGNED
#undef SIGN
    uint8_t message[128];
    OK(fog_batch_message(batch, ANA, 2, NEVER_MS, message, sizeof message, &len));
    CHECK(len == 77);
    fog_batch_free(batch);

    uint8_t checkpoint[FOG_CHECKPOINT_BYTES];
    OK(fog_ledger_checkpoint(ledger, secret, sizeof secret, checkpoint));
    fog_checkpoint stated;
    OK(fog_checkpoint_verify(checkpoint, sizeof checkpoint, key, sizeof key, &stated));
    fog_ledger_head head;
    OK(fog_ledger_end(ledger, &head));
    CHECK(stated.head.sequence == head.sequence && strcmp(stated.head.chain, head.chain) == 0);
    OK(fog_ledger_verify_since(ledger, checkpoint, sizeof checkpoint, key, sizeof key, NULL));
    FAILS(FOG_STATUS_CHECKPOINT_FORGED,
          fog_checkpoint_verify(checkpoint, sizeof checkpoint, other, sizeof other, NULL));
    OK(fog_ledger_in_memory(&empty));
    FAILS(FOG_STATUS_CHECKPOINT_MISSING,
          fog_ledger_verify_since(empty, checkpoint, sizeof checkpoint, key, sizeof key, NULL));
    CHECK(strstr(fog_last_error_message(), "ends at entry 0") != NULL);
    for (unsigned n = 0; n < head.sequence; n++) {
        OK(fog_ledger_open_account(empty, id_of(100 + n), FOG_ACCOUNT_KIND_HOLDER, NULL));
    }
    FAILS(FOG_STATUS_CHECKPOINT_DIFFERS,
          fog_ledger_verify_since(empty, checkpoint, sizeof checkpoint, key, sizeof key, NULL));
    fog_ledger_free(empty);
    fog_ledger_free(ledger);
}

static void test_a_ledger_is_copied_damaged_and_out_of_room(void) {
    char path[] = "/tmp/fogcompute-c-XXXXXX";
    if (mkdtemp(path) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    char file[64], copy[64], text[64], command[128];
    snprintf(file, sizeof file, "%s/ledger.sqlite", path);
    snprintf(copy, sizeof copy, "%s/copy.sqlite", path);
    snprintf(text, sizeof text, "%s/history.csv", path);
    fog_ledger *ledger = NULL, *other = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_open_with(file, 3, 1000, &ledger));
    FAILS(FOG_STATUS_STORAGE_IS_FOLDER, fog_ledger_open(path, &ledger));
    FAILS(FOG_STATUS_STORAGE_MISSING,
          fog_ledger_open_existing(file, FOG_DURABILITY_NORMAL, 1000, &ledger));
    CHECK(access(file, F_OK) != 0);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_open_existing(file, 3, 1000, &ledger));
    OK(fog_ledger_open(file, &ledger));
    fog_ledger_free(ledger);
    OK(fog_ledger_open_existing(file, FOG_DURABILITY_NORMAL, 1000, &ledger));
    OK(fog_ledger_open_account(ledger, MINT, FOG_ACCOUNT_KIND_ISSUER, NULL));
    OK(fog_ledger_open_account(ledger, ANA, FOG_ACCOUNT_KIND_HOLDER, NULL));
    OK(fog_ledger_transfer(ledger, id_of(1), MINT, ANA, "42", NULL));
    OK(fog_ledger_snapshot(ledger));
    OK(fog_ledger_check_integrity(ledger));
    uint64_t entries = 0;
    OK(fog_ledger_export(ledger, text, FOG_TEXT_FORMAT_CSV, &entries));
    CHECK(entries == 3);
    FAILS(FOG_STATUS_STORAGE_EXISTS,
          fog_ledger_export(ledger, text, FOG_TEXT_FORMAT_CSV, NULL));
    FAILS(FOG_STATUS_STORAGE_NOT_EMPTY, fog_ledger_import(ledger, text, FOG_TEXT_FORMAT_CSV));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_import(ledger, text, 3));
    /* CSV was written whatever the name was, unless another format was asked for. */
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_ledger_export(ledger, copy, 0, NULL));
    CHECK(access(copy, F_OK) != 0);
    OK(fog_ledger_backup(ledger, copy));
    FAILS(FOG_STATUS_STORAGE_EXISTS, fog_ledger_backup(ledger, copy));
    OK(fog_ledger_in_memory(&other));
    FAILS(FOG_STATUS_INVALID_TRANSCRIPT,
          fog_ledger_import(other, text, FOG_TEXT_FORMAT_JSON_LINES));
    OK(fog_ledger_import(other, text, FOG_TEXT_FORMAT_OF_NAME));
    CHECK(has(other, ANA, "42"));
    fog_ledger_free(other);

    /* A file that may not grow, which is what a full disk is to who writes. */
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        OK(fog_ledger_in_memory(&other));
        for (unsigned n = 0; n < 100; n++) {
            OK(fog_ledger_open_account(other, id_of(100 + n), FOG_ACCOUNT_KIND_HOLDER, NULL));
        }
        snprintf(text, sizeof text, "%s/long.csv", path);
        FAILS(FOG_STATUS_STORAGE_FULL,
              fog_ledger_export(other, text, FOG_TEXT_FORMAT_CSV, NULL));
        CHECK(access(text, F_OK) != 0);
        fflush(stdout);
        _exit(failures != 0);
    }
    int ended = 1;
    CHECK(waitpid(child, &ended, 0) == child && ended == 0);
    fog_ledger_free(ledger);

    /* Who may write to any file tries as somebody who may not. */
    uid_t user = geteuid();
    CHECK(chmod(path, 0755) == 0 && chmod(copy, 0444) == 0);
    CHECK(user != 0 || seteuid(65534) == 0);
    FAILS(FOG_STATUS_STORAGE_READ_ONLY, fog_ledger_open(copy, &other));
    CHECK(seteuid(user) == 0);
    FILE *opened = fopen(file, "r+b");
    CHECK(opened != NULL);
    if (opened != NULL) {
        /* The second page of the database and all that follow are gone. */
        static const uint8_t nothing[4096] = {0};
        CHECK(fseek(opened, 0, SEEK_END) == 0);
        long size = ftell(opened);
        CHECK(fseek(opened, 4096, SEEK_SET) == 0);
        for (long at = 4096; at < size; at += 4096) {
            CHECK(fwrite(nothing, sizeof nothing, 1, opened) == 1);
        }
        fclose(opened);
    }
    fog_status status = fog_ledger_open(file, &other);
    if (status == FOG_STATUS_OK) {
        status = fog_ledger_verify(other, NULL);
        fog_ledger_free(other);
    }
    CHECK(status == FOG_STATUS_STORAGE_CORRUPT);
    snprintf(command, sizeof command, "rm -r '%s'", path);
    CHECK(system(command) == 0);
}

/* Parent and child that both went on destroyed the file, each trusting a lock that only the parent
 * has. A child of a fog waited for threads that it does not have. */
static void test_a_forked_child_cannot_use_what_its_parent_opened(void) {
    char path[] = "/tmp/fogcompute-c-XXXXXX";
    char file[64];
    if (mkdtemp(path) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    snprintf(file, sizeof file, "%s/ledger.sqlite", path);
    const char *mint = "000000000000000000000000000000a0";
    const char *alice = "000000000000000000000000000000a1";
    fog_ledger *ledger = NULL;
    OK(fog_ledger_open(file, &ledger));
    OK(fog_ledger_open_account(ledger, mint, FOG_ACCOUNT_KIND_ISSUER, NULL));
    OK(fog_ledger_open_account(ledger, alice, FOG_ACCOUNT_KIND_HOLDER, NULL));
    fog_fog *fog = NULL;
    OK(fog_fog_new(NULL, &fog));
    fflush(stdout);
    pid_t child = fork();
    char id[33];
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%032d", (child == 0 ? 2000 : 1000) + i);
        fog_status status = fog_ledger_transfer(ledger, id, mint, alice, "1", NULL);
        CHECK(status == (child == 0 ? FOG_STATUS_CLOSED : FOG_STATUS_OK));
    }
    if (child == 0) {
        fog_amount amount;
        FAILS(FOG_STATUS_CLOSED, fog_ledger_balance(ledger, alice, &amount));
        FAILS(FOG_STATUS_CLOSED, fog_ledger_verify(ledger, NULL));
        fog_ledger_free(ledger);
        fog_stats stats;
        FAILS(FOG_STATUS_CLOSED, fog_fog_stats(fog, &stats));
        fog_fog_close(fog);
        fog_fog_free(fog);
        fflush(stdout);
        if (failures == 0) {
            /* What it left to its parent is a leak to those who look for leaks at an exit. */
            execlp("true", "true", (char *)NULL);
        }
        _exit(1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    fog_stats stats;
    OK(fog_fog_stats(fog, &stats));
    fog_fog_free(fog);
    OK(fog_ledger_verify(ledger, NULL));
    fog_ledger_free(ledger);
    OK(fog_ledger_open(file, &ledger));
    fog_amount amount;
    OK(fog_ledger_balance(ledger, alice, &amount));
    CHECK(strcmp(amount.text, "100") == 0);
    fog_ledger_free(ledger);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    CHECK(system(command) == 0);
}

/* ---- economy ------------------------------------------------------------------------------ */

#define DAY_MS 86400000ull
#define START_MS (20000 * DAY_MS)
#define CREDIT "000000000000000000"

static const char *const STAKED_NODE = "0101010101010101010101010101010101010101010101010101010101010101";
static const char *const OTHER_NODE = "0202020202020202020202020202020202020202020202020202020202020202";

static const char *purse(const char *name) {
    static char id[FOG_ID_SIZE];
    OK(fog_purse_account(name, id));
    return id;
}

/* Ana and Ben have 1,000 credits each, and Ana runs two nodes. */
static void found(const fog_ledger *ledger) {
    const char *thousand = "1000" CREDIT;
    OK(fog_ledger_set_time(ledger, START_MS));
    OK(fog_economy_configure(ledger, id_of(1), NULL, NULL));
    OK(fog_ledger_open_account(ledger, ANA, FOG_ACCOUNT_KIND_HOLDER, NULL));
    OK(fog_ledger_open_account(ledger, BEN, FOG_ACCOUNT_KIND_HOLDER, NULL));
    OK(fog_ledger_transfer(ledger, id_of(2), purse("treasury"), ANA, thousand, NULL));
    OK(fog_ledger_transfer(ledger, id_of(3), purse("treasury"), BEN, thousand, NULL));
    OK(fog_economy_register_operator(ledger, id_of(4), STAKED_NODE, ANA, 100000, NULL));
    OK(fog_economy_register_operator(ledger, id_of(5), OTHER_NODE, ANA, 100000, NULL));
}

static void test_stake_earns_is_slashed_leaves_and_is_paid_out_across_a_restart(void) {
    char folder[] = "/tmp/fogcompute-economy-XXXXXX", file[64];
    must(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/ledger.sqlite", folder);
    fog_ledger *ledger = NULL;
    OK(fog_ledger_open(file, &ledger));
    found(ledger);
    fog_economy_receipt did;
    OK(fog_economy_bond(ledger, id_of(10), STAKED_NODE, BEN, "1000" CREDIT, &did));
    CHECK(strcmp(did.event, "bonded") == 0 && !did.replayed);
    OK(fog_economy_bond(ledger, id_of(10), STAKED_NODE, BEN, "1000" CREDIT, &did));
    CHECK(did.replayed && strcmp(did.amount.text, "1000" CREDIT) == 0);
    CHECK(has(ledger, BEN, "0"));

    OK(fog_economy_reward(ledger, id_of(11), STAKED_NODE, purse("treasury"), "100" CREDIT, &did));
    CHECK(strcmp(did.commission.text, "10" CREDIT) == 0);
    OK(fog_economy_reward(ledger, id_of(12), OTHER_NODE, purse("treasury"), "1", &did));
    CHECK(strcmp(did.treasury.text, "1") == 0);
    fog_stake stake;
    OK(fog_economy_stake(ledger, STAKED_NODE, BEN, &stake));
    CHECK(strcmp(stake.claimable.text, "90" CREDIT) == 0 && stake.unbondings == 0);
    OK(fog_economy_claim(ledger, id_of(13), STAKED_NODE, BEN, &did));
    CHECK(strcmp(did.amount.text, "90" CREDIT) == 0);
    OK(fog_economy_claim_commission(ledger, id_of(14), STAKED_NODE, &did));
    CHECK(strcmp(did.amount.text, "10" CREDIT) == 0);

    OK(fog_ledger_set_time(ledger, START_MS + DAY_MS));
    OK(fog_economy_slash(ledger, id_of(15), STAKED_NODE, FOG_EVIDENCE_INVALID_RESULT, START_MS + 1,
                         "1000" CREDIT, &did));
    CHECK(strcmp(did.amount.text, "10" CREDIT) == 0);
    CHECK(strcmp(did.insured.text, "5" CREDIT) == 0);
    CHECK(did.jailed_until_unix_ms == START_MS + 2 * DAY_MS && !did.tombstoned);
    fog_economy_operator operators[2];
    bool is_one;
    OK(fog_economy_operator_of(ledger, STAKED_NODE, operators, &is_one));
    CHECK(is_one && operators->jailed && strcmp(operators->account, ANA) == 0);
    CHECK(strcmp(operators->staked.text, "990" CREDIT) == 0);
    OK(fog_economy_pay_insurance(ledger, id_of(16), id_of(99), BEN, "5" CREDIT, NULL));
    OK(fog_ledger_set_time(ledger, START_MS + 2 * DAY_MS));
    OK(fog_economy_unjail(ledger, id_of(17), STAKED_NODE, NULL));
    OK(fog_economy_set_commission(ledger, id_of(18), STAKED_NODE, 110000, NULL));

    OK(fog_economy_redelegate(ledger, id_of(19), BEN, STAKED_NODE, OTHER_NODE, "90" CREDIT, &did));
    CHECK(did.entry == 1);
    OK(fog_economy_unbond(ledger, id_of(20), STAKED_NODE, BEN, NULL, &did));
    CHECK(strcmp(did.amount.text, "900" CREDIT) == 0 && did.entry == 2);
    CHECK(did.matures_unix_ms == START_MS + 23 * DAY_MS);
    OK(fog_economy_cancel_unbonding(ledger, id_of(21), STAKED_NODE, BEN, 2, "100" CREDIT, NULL));
    fog_unbonding unbonding;
    size_t count;
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_economy_unbondings(ledger, STAKED_NODE, BEN, NULL, 0, &count));
    CHECK(count == 1);
    OK(fog_economy_unbondings(ledger, STAKED_NODE, BEN, &unbonding, 1, &count));
    CHECK(strcmp(unbonding.balance.text, "800" CREDIT) == 0);
    fog_ledger_free(ledger);

    OK(fog_ledger_open(file, &ledger));
    OK(fog_ledger_set_time(ledger, START_MS + 23 * DAY_MS));
    uint64_t now;
    OK(fog_ledger_now(ledger, &now));
    CHECK(now == START_MS + 23 * DAY_MS);
    /* The redelegation and the unbonding. */
    OK(fog_ledger_expire(ledger, &count));
    CHECK(count == 2 && has(ledger, BEN, "895" CREDIT));
    OK(fog_economy_operators(ledger, NULL, operators, 2, &count));
    CHECK(count == 2 && strcmp(operators[1].id, OTHER_NODE) == 0);
    OK(fog_economy_operators(ledger, STAKED_NODE, operators, 2, &count));
    CHECK(count == 1);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_economy_operator_of(ledger, BEN, operators, &is_one));
    OK(fog_economy_receipt_of(ledger, id_of(20), &did, &is_one));
    CHECK(is_one && strcmp(did.event, "unbonded") == 0);
    OK(fog_economy_receipt_of(ledger, id_of(2), &did, &is_one));
    CHECK(!is_one);
    fog_ledger_entry entries[40];
    OK(fog_ledger_history(ledger, BEN, 0, entries, 40, &count));
    CHECK(strcmp(entries[count - 1].kind, "moved") == 0);
    CHECK(entries[count - 1].cause == entries[count - 1].sequence - 1);
    OK(fog_ledger_verify(ledger, NULL));
    OK(fog_ledger_set_time(ledger, 0));
    OK(fog_ledger_now(ledger, &now));
    CHECK(now > START_MS);
    fog_ledger_free(ledger);
    unlink(file);
    rmdir(folder);
}

static void test_contributions_are_paid_up_to_the_limit_of_the_day(void) {
    fog_ledger *ledger = NULL;
    OK(fog_ledger_in_memory(&ledger));
    found(ledger);
    const fog_fact facts[] = {{"uptime", 1000}, {"bandwidth", 1000}};
    fog_economy_receipt did;
    for (unsigned n = 10; n < 22; n++) {
        OK(fog_economy_earn(ledger, id_of(n), "hosting", BEN, facts, 2, &did));
    }
    CHECK(strcmp(did.amount.text, "1" CREDIT) == 0);
    CHECK(strcmp(did.cut_by_limit.text, "8" CREDIT) == 0);
    FAILS(FOG_STATUS_DAILY_LIMIT_REACHED,
          fog_economy_earn(ledger, id_of(22), "hosting", BEN, facts, 2, NULL));
    fog_amount granted;
    OK(fog_economy_granted_today(ledger, "hosting", BEN, &granted));
    CHECK(strcmp(granted.text, "100" CREDIT) == 0);
    OK(fog_ledger_set_time(ledger, START_MS + DAY_MS));
    OK(fog_economy_granted_today(ledger, "hosting", BEN, &granted));
    CHECK(strcmp(granted.text, "0") == 0);
    OK(fog_economy_earn_session(ledger, id_of(22), BEN, 100000, 3600000, 0, &did));
    CHECK(strcmp(did.amount.text, "9" CREDIT) == 0);
    OK(fog_economy_pay_fee(ledger, id_of(23), BEN, ANA, "100" CREDIT, &did));
    CHECK(strcmp(did.treasury.text, "15" CREDIT) == 0);
    CHECK(strcmp(did.sovereign_fund.text, "5" CREDIT) == 0);
    CHECK(has(ledger, ANA, "1080" CREDIT) && has(ledger, purse("sovereign_fund"), "5" CREDIT));
    fog_ledger_free(ledger);
}

static void test_rules_of_an_economy_are_told_and_set(void) {
    fog_ledger *ledger = NULL;
    OK(fog_ledger_in_memory(&ledger));
    char *rules = NULL;
    bool is_one = true;
    size_t count = 1;
    OK(fog_economy_rules(ledger, &rules, &is_one));
    CHECK(!is_one && rules == NULL);
    OK(fog_economy_parameters(ledger, NULL, 0, &count));
    CHECK(count == 0);
    OK(fog_economy_default_rules(&rules));
    cJSON *changed = cJSON_Parse(rules);
    fog_string_free(rules);
    cJSON *supply = cJSON_GetObjectItem(changed, "supply");
    cJSON_ReplaceItemInObject(supply, "initial", cJSON_CreateString("5"));
    char *text_of_rules = cJSON_PrintUnformatted(changed);
    OK(fog_economy_configure(ledger, id_of(1), text_of_rules, NULL));
    free(text_of_rules);
    cJSON_Delete(changed);
    CHECK(has(ledger, purse("treasury"), "5"));
    const char *const base = "earning.contributions.hosting.base";
    OK(fog_economy_set_parameter(ledger, id_of(2), base, "7", NULL));
    OK(fog_economy_rules(ledger, &rules, &is_one));
    CHECK(is_one && strstr(rules, "hosting") != NULL);
    fog_string_free(rules);
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_economy_parameters(ledger, NULL, 0, &count));
    fog_parameter *parameters = must(calloc(count, sizeof *parameters));
    OK(fog_economy_parameters(ledger, parameters, count, &count));
    bool seen = false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(parameters[i].name, base) == 0) {
            seen = parameters[i].unit == FOG_PARAMETER_UNIT_BASE_UNITS &&
                   strcmp(parameters[i].value.text, "7") == 0;
        }
    }
    CHECK(seen);
    free(parameters);
    FAILS(FOG_STATUS_INVALID_ECONOMY, fog_economy_configure(ledger, id_of(3), "{}", NULL));
    FAILS(FOG_STATUS_UNKNOWN_PARAMETER, fog_economy_set_parameter(ledger, id_of(3), "x", "1", NULL));
    FAILS(FOG_STATUS_INVALID_ECONOMY,
          fog_economy_set_parameter(ledger, id_of(3), "earning.fees.treasury", "2000000", NULL));
    fog_ledger_free(ledger);
}

static void test_every_refusal_of_the_economy_has_its_status(void) {
    fog_ledger *ledger = NULL;
    OK(fog_ledger_in_memory(&ledger));
    const char *node = STAKED_NODE;
    const char *nobody = "0303030303030303030303030303030303030303030303030303030303030303";
    char x[FOG_ID_SIZE];
    snprintf(x, sizeof x, "%s", id_of(200));
    FAILS(FOG_STATUS_NO_ECONOMY, fog_economy_unjail(ledger, x, node, NULL));
    found(ledger);
    const fog_fact low[] = {{"quality", 699}}, high[] = {{"quality", 1001}};
    const fog_fact twice[] = {{"uptime", 1}, {"uptime", 1}};
    FAILS(FOG_STATUS_UNKNOWN_OPERATOR, fog_economy_unjail(ledger, x, nobody, NULL));
    FAILS(FOG_STATUS_OPERATOR_EXISTS,
          fog_economy_register_operator(ledger, x, node, ANA, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_economy_register_operator(ledger, x, nobody, ANA, 1000001, NULL));
    FAILS(FOG_STATUS_COMMISSION_TOO_LARGE,
          fog_economy_register_operator(ledger, x, nobody, ANA, 500001, NULL));
    FAILS(FOG_STATUS_COMMISSION_TOO_SOON,
          fog_economy_set_commission(ledger, x, node, 100001, NULL));
    FAILS(FOG_STATUS_UNKNOWN_DELEGATOR, fog_economy_unbond(ledger, x, node, BEN, NULL, NULL));
    FAILS(FOG_STATUS_ZERO_AMOUNT, fog_economy_bond(ledger, x, node, BEN, "0", NULL));
    FAILS(FOG_STATUS_INSUFFICIENT_FUNDS,
          fog_economy_bond(ledger, x, node, BEN, "1001" CREDIT, NULL));
    FAILS(FOG_STATUS_NOT_JAILED, fog_economy_unjail(ledger, x, node, NULL));
    FAILS(FOG_STATUS_NOTHING_TO_CLAIM, fog_economy_claim_commission(ledger, x, node, NULL));
    FAILS(FOG_STATUS_INSURANCE_SHORT,
          fog_economy_pay_insurance(ledger, x, id_of(9), BEN, "1", NULL));
    FAILS(FOG_STATUS_STAKING_REFUSED,
          fog_economy_reward(ledger, x, node, purse("bonded"), "1", NULL));
    FAILS(FOG_STATUS_PURSE_ACCOUNT,
          fog_ledger_transfer(ledger, x, purse("bonded"), ANA, "1", NULL));
    FAILS(FOG_STATUS_EVIDENCE_TOO_OLD,
          fog_economy_slash(ledger, x, node, FOG_EVIDENCE_DOWNTIME, START_MS - 22 * DAY_MS, "1",
                            NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_economy_slash(ledger, x, node, 4, START_MS, "1", NULL));
    FAILS(FOG_STATUS_UNKNOWN_RULE, fog_economy_earn(ledger, x, "nothing", BEN, NULL, 0, NULL));
    FAILS(FOG_STATUS_UNKNOWN_FACT, fog_economy_earn(ledger, x, "hosting", BEN, low, 1, NULL));
    FAILS(FOG_STATUS_FACT_MISSING, fog_economy_earn(ledger, x, "knowledge", BEN, NULL, 0, NULL));
    FAILS(FOG_STATUS_REQUIREMENT_NOT_MET,
          fog_economy_earn(ledger, x, "knowledge", BEN, low, 1, NULL));
    FAILS(FOG_STATUS_FACT_TOO_LARGE, fog_economy_earn(ledger, x, "knowledge", BEN, high, 1, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_economy_earn(ledger, x, "hosting", BEN, twice, 2, NULL));
    FAILS(FOG_STATUS_SESSION_TOO_SHORT,
          fog_economy_earn_session(ledger, x, BEN, 1000, 1, 0, NULL));
    FAILS(FOG_STATUS_SESSION_TOO_LARGE,
          fog_economy_earn_session(ledger, x, BEN, 1000, DAY_MS + 1, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_purse_account("pocket", x));

    OK(fog_economy_bond(ledger, id_of(10), node, BEN, "100" CREDIT, NULL));
    fog_economy_receipt left;
    OK(fog_economy_unbond(ledger, id_of(11), node, BEN, "10", &left));
    FAILS(FOG_STATUS_UNKNOWN_ENTRY,
          fog_economy_cancel_unbonding(ledger, x, node, BEN, left.entry + 1, NULL, NULL));
    FAILS(FOG_STATUS_EXCEEDS_ENTRY,
          fog_economy_cancel_unbonding(ledger, x, node, BEN, left.entry, "11", NULL));
    FAILS(FOG_STATUS_EXCEEDS_STAKE, fog_economy_unbond(ledger, x, node, BEN, "100" CREDIT, NULL));
    for (unsigned n = 12; n < 18; n++) {
        OK(fog_economy_unbond(ledger, id_of(n), node, BEN, "1", NULL));
    }
    FAILS(FOG_STATUS_TOO_MANY_ENTRIES, fog_economy_unbond(ledger, x, node, BEN, NULL, NULL));
    OK(fog_economy_redelegate(ledger, id_of(18), BEN, node, OTHER_NODE, "1", NULL));
    FAILS(FOG_STATUS_TRANSITIVE_REDELEGATION,
          fog_economy_redelegate(ledger, x, BEN, OTHER_NODE, node, NULL, NULL));
    OK(fog_economy_slash(ledger, id_of(19), node, FOG_EVIDENCE_INVALID_RESULT, START_MS, "10000",
                         NULL));
    FAILS(FOG_STATUS_EVIDENCE_REPEATED,
          fog_economy_slash(ledger, x, node, FOG_EVIDENCE_INVALID_RESULT, START_MS, "1", NULL));
    FAILS(FOG_STATUS_JAILED, fog_economy_bond(ledger, x, node, BEN, "1", NULL));
    OK(fog_economy_pay_insurance(ledger, id_of(20), id_of(9), BEN, "1", NULL));
    FAILS(FOG_STATUS_CLAIM_REPEATED,
          fog_economy_pay_insurance(ledger, x, id_of(9), BEN, "1", NULL));
    OK(fog_economy_slash(ledger, id_of(21), node, FOG_EVIDENCE_DOUBLE_RESULT, START_MS, "1", NULL));
    FAILS(FOG_STATUS_TOMBSTONED, fog_economy_unjail(ledger, x, node, NULL));
    OK(fog_ledger_set_time(ledger, START_MS - 1));
    FAILS(FOG_STATUS_CLOCK_BEHIND, fog_economy_bond(ledger, x, OTHER_NODE, BEN, "1", NULL));
    fog_ledger_free(ledger);
}

static void test_operations_of_the_economy_are_batched_and_signed(void) {
    fog_ledger *ledger = NULL;
    OK(fog_ledger_in_memory(&ledger));
    OK(fog_ledger_set_time(ledger, START_MS));
    fog_batch *batch = NULL;
    OK(fog_batch_new(&batch));
    const fog_fact facts[] = {{"uptime", 1000}};
    OK(fog_batch_configure(batch, id_of(1), NULL));
    OK(fog_batch_set_parameter(batch, id_of(2), "earning.fees.treasury", "100000"));
    OK(fog_batch_open_account(batch, ANA, FOG_ACCOUNT_KIND_HOLDER, 0));
    OK(fog_batch_open_account(batch, BEN, FOG_ACCOUNT_KIND_HOLDER, 0));
    OK(fog_batch_transfer(batch, id_of(3), purse("treasury"), BEN, "1000000", NULL));
    OK(fog_batch_register_operator(batch, id_of(4), STAKED_NODE, ANA, 100000));
    OK(fog_batch_register_operator(batch, id_of(5), OTHER_NODE, ANA, 100000));
    OK(fog_batch_bond(batch, id_of(6), STAKED_NODE, BEN, "100000"));
    OK(fog_batch_reward(batch, id_of(7), STAKED_NODE, purse("treasury"), "100"));
    OK(fog_batch_claim(batch, id_of(8), STAKED_NODE, BEN));
    OK(fog_batch_claim_commission(batch, id_of(9), STAKED_NODE));
    OK(fog_batch_redelegate(batch, id_of(10), BEN, STAKED_NODE, OTHER_NODE, "10000"));
    OK(fog_batch_unbond(batch, id_of(11), STAKED_NODE, BEN, "10000"));
    OK(fog_batch_cancel_unbonding(batch, id_of(12), STAKED_NODE, BEN, 2, NULL));
    OK(fog_batch_slash(batch, id_of(13), STAKED_NODE, FOG_EVIDENCE_DOWNTIME, START_MS, "100000"));
    OK(fog_batch_earn(batch, id_of(14), "hosting", BEN, facts, 1));
    OK(fog_batch_earn_session(batch, id_of(15), BEN, 1000, 3600000, 0));
    OK(fog_batch_pay_fee(batch, id_of(16), BEN, ANA, "100"));
    OK(fog_batch_pay_insurance(batch, id_of(17), id_of(99), BEN, "1"));
    OK(fog_ledger_execute(ledger, batch, NULL, 0));
    OK(fog_batch_clear(batch));
    OK(fog_ledger_set_time(ledger, START_MS + DAY_MS));
    OK(fog_batch_unjail(batch, id_of(18), STAKED_NODE));
    OK(fog_batch_set_commission(batch, id_of(19), STAKED_NODE, 100001));
    OK(fog_ledger_execute(ledger, batch, NULL, 0));
    fog_economy_receipt did;
    bool is_one = false;
    OK(fog_economy_receipt_of(ledger, id_of(16), &did, &is_one));
    CHECK(is_one && strcmp(did.treasury.text, "10") == 0);

    uint8_t secret[FOG_KEY_BYTES] = {7}, key[FOG_KEY_BYTES], signed_batch[4096];
    OK(fog_owner_key(secret, sizeof secret, key));
    OK(fog_ledger_own(ledger, id_of(20), BEN, key, sizeof key, NULL));
    size_t len;
    OK(fog_batch_clear(batch));
    OK(fog_batch_bond(batch, id_of(21), STAKED_NODE, BEN, "5"));
    OK(fog_batch_sign(batch, BEN, 1, NEVER_MS, secret, sizeof secret, signed_batch,
                      sizeof signed_batch, &len));
    OK(fog_ledger_execute_signed(ledger, signed_batch, len, NULL, 0, NULL));
    OK(fog_batch_clear(batch));
    OK(fog_batch_set_parameter(batch, id_of(22), "earning.fees.treasury", "0"));
    OK(fog_batch_sign(batch, BEN, 2, NEVER_MS, secret, sizeof secret, signed_batch,
                      sizeof signed_batch, &len));
    FAILS(FOG_STATUS_HOST_ONLY,
          fog_ledger_execute_signed(ledger, signed_batch, len, NULL, 0, NULL));
    FAILS(FOG_STATUS_ACCOUNT_STAKED, fog_ledger_close_account(ledger, id_of(23), ANA, NULL));
    fog_batch_free(batch);
    fog_ledger_free(ledger);
}

/* ---- governance --------------------------------------------------------------------------- */

static const char *const CLEO = "000000000000000000000000000000a3";
static const char *const PROPOSAL = "00000000000000000000000000000064";

#define CHANGE(value) \
    "{\"kind\": \"parameter_change\", \"title\": \"Pay hosts more\", \"description\": \"\"," \
    " \"actions\": [{\"set_parameter\": {" \
    "\"name\": \"earning.contributions.hosting.base\", \"value\": " value "}}]}"

/* Governs as the host, which these rules allow. */
#define GOVERN(number, ...)                                             \
    fog_governance_ask(ledger, id_of(number),                           \
                       &(fog_governance_request){__VA_ARGS__}, NULL)
#define REFUSED(status, ...) FAILS(status, GOVERN(200, __VA_ARGS__))
#define VOTE(voter, said) \
    .kind = FOG_GOVERNANCE_KIND_VOTE, .account = voter, .proposal = PROPOSAL, .choice = said
#define PROPOSE(author, name, says) \
    .kind = FOG_GOVERNANCE_KIND_PROPOSE, .account = author, .proposal = name, .content = says

/* Ana, Ben and Cleo have 10,000 credits each. */
static fog_ledger *governed(bool signatures_required) {
    fog_ledger *ledger = NULL;
    OK(fog_ledger_in_memory(&ledger));
    OK(fog_ledger_set_time(ledger, START_MS));
    char *rules = NULL;
    OK(fog_economy_default_rules(&rules));
    cJSON *changed = cJSON_Parse(rules);
    fog_string_free(rules);
    cJSON_ReplaceItemInObject(cJSON_GetObjectItem(changed, "dao"), "signatures_required",
                              cJSON_CreateBool(signatures_required));
    char *text_of_rules = cJSON_PrintUnformatted(changed);
    OK(fog_economy_configure(ledger, id_of(1), text_of_rules, NULL));
    free(text_of_rules);
    cJSON_Delete(changed);
    const char *const accounts[] = {ANA, BEN, CLEO};
    for (unsigned n = 0; n < 3; n++) {
        OK(fog_ledger_open_account(ledger, accounts[n], FOG_ACCOUNT_KIND_HOLDER, NULL));
        OK(fog_ledger_transfer(ledger, id_of(2 + n), purse("treasury"), accounts[n],
                               "10000" CREDIT, NULL));
        if (!signatures_required) {
            OK(GOVERN(8 + n, .kind = FOG_GOVERNANCE_KIND_ENROL, .account = accounts[n]));
        }
    }
    return ledger;
}

/* Hands over what an account signs: its batch of one step. */
static fog_status hand_over(const fog_ledger *ledger, const char *account, const char *id,
                            const fog_governance_request *request) {
    uint8_t secret[FOG_KEY_BYTES] = {0}, bytes[4096];
    memcpy(secret, account + FOG_ID_SIZE - 3, 2);
    fog_batch *batch = NULL;
    size_t len, count;
    uint64_t nonce;
    OK(fog_batch_new(&batch));
    OK(fog_batch_governance(batch, id, request));
    OK(fog_ledger_next_nonce(ledger, account, &nonce));
    OK(fog_batch_sign(batch, account, nonce, NEVER_MS, secret, sizeof secret, bytes, sizeof bytes,
                      &len));
    fog_batch_free(batch);
    const fog_status status = fog_ledger_execute_signed(ledger, bytes, len, NULL, 0, &count);
    if (status == FOG_STATUS_OK) {
        FAILS(FOG_STATUS_SIGNATURE_REPLAYED,
              fog_ledger_execute_signed(ledger, bytes, len, NULL, 0, &count));
    }
    return status;
}

static void test_signed_votes_change_what_the_ledger_pays(void) {
    fog_ledger *ledger = governed(true);
    const char *const accounts[] = {ANA, BEN, CLEO};
#define SIGNED_BY(account, number, ...) \
    hand_over(ledger, account, id_of(number), &(fog_governance_request){__VA_ARGS__})
    for (unsigned n = 0; n < 3; n++) {
        uint8_t secret[FOG_KEY_BYTES] = {0}, key[FOG_KEY_BYTES];
        memcpy(secret, accounts[n] + FOG_ID_SIZE - 3, 2);
        OK(fog_owner_key(secret, sizeof secret, key));
        OK(fog_ledger_own(ledger, id_of(5 + n), accounts[n], key, sizeof key, NULL));
        OK(SIGNED_BY(accounts[n], 8 + n, .kind = FOG_GOVERNANCE_KIND_ENROL,
                     .account = accounts[n]));
    }
    OK(fog_ledger_set_time(ledger, START_MS + DAY_MS));
    const fog_fact facts[] = {{"uptime", 1000}};
    fog_economy_receipt did;
    OK(fog_economy_earn(ledger, id_of(20), "hosting", ANA, facts, 1, &did));
    CHECK(strcmp(did.amount.text, "7500000000000000000") == 0);
    REFUSED(FOG_STATUS_SIGNATURE_REQUIRED, PROPOSE(ANA, PROPOSAL, CHANGE("\"1\"")));
    CHECK(SIGNED_BY(BEN, 21, PROPOSE(ANA, PROPOSAL, CHANGE("\"1\""))) ==
          FOG_STATUS_NOT_THE_OWNER);
    OK(SIGNED_BY(ANA, 21, PROPOSE(ANA, PROPOSAL, CHANGE("\"10" CREDIT "\""))));
    fog_proposal proposal;
    bool is_one = false;
    OK(fog_governance_proposal(ledger, PROPOSAL, &proposal, &is_one));
    CHECK(is_one && proposal.state == FOG_PROPOSAL_STATE_PENDING && *proposal.quorum.text == 0);
    CHECK(proposal.kind == FOG_PROPOSAL_KIND_PARAMETER_CHANGE && strcmp(proposal.author, ANA) == 0);
    char *content = NULL;
    OK(fog_governance_content(ledger, PROPOSAL, &content, &is_one));
    cJSON *says = cJSON_Parse(content), *said = cJSON_Parse(CHANGE("\"10" CREDIT "\""));
    CHECK(is_one && cJSON_Compare(says, said, true));
    cJSON_Delete(says);
    cJSON_Delete(said);
    fog_string_free(content);

    OK(fog_ledger_set_time(ledger, START_MS + 2 * DAY_MS + 1));
    OK(SIGNED_BY(BEN, 22, VOTE(BEN, FOG_CHOICE_FOR)));
    OK(fog_economy_receipt_of(ledger, id_of(22), &did, &is_one));
    CHECK(is_one && strcmp(did.event, "voted") == 0 && strcmp(did.proposal, PROPOSAL) == 0);
    CHECK(strcmp(did.power.text, "10000" CREDIT) == 0);
    OK(SIGNED_BY(CLEO, 23, VOTE(CLEO, FOG_CHOICE_AGAINST)));
    OK(SIGNED_BY(CLEO, 24, VOTE(CLEO, FOG_CHOICE_FOR)));
    fog_ballot ballot;
    OK(fog_governance_ballot(ledger, PROPOSAL, CLEO, &ballot, &is_one));
    CHECK(is_one && ballot.choice == FOG_CHOICE_FOR && ballot.changes == 1);
    OK(fog_governance_ballot(ledger, PROPOSAL, ANA, &ballot, &is_one));
    CHECK(!is_one);
    OK(fog_governance_proposal(ledger, PROPOSAL, &proposal, &is_one));
    CHECK(proposal.state == FOG_PROPOSAL_STATE_ACTIVE && proposal.ballots == 2);
    CHECK(proposal.quorum_reached && proposal.approved);

    OK(fog_ledger_set_time(ledger, START_MS + 9 * DAY_MS + 1));
    const fog_governance_request queue = {.kind = FOG_GOVERNANCE_KIND_QUEUE, .proposal = PROPOSAL};
    OK(fog_governance_ask(ledger, id_of(25), &queue, &did));
    CHECK(did.eta_unix_ms == START_MS + 10 * DAY_MS + 1);
    REFUSED(FOG_STATUS_TIMELOCK_RUNNING, .kind = FOG_GOVERNANCE_KIND_EXECUTE,
            .proposal = PROPOSAL);
    OK(fog_ledger_set_time(ledger, did.eta_unix_ms));
    OK(GOVERN(26, .kind = FOG_GOVERNANCE_KIND_EXECUTE, .proposal = PROPOSAL));
    size_t count = 0;
    OK(fog_governance_proposals(ledger, NULL, &proposal, 1, &count));
    CHECK(count == 1 && proposal.state == FOG_PROPOSAL_STATE_EXECUTED);
    CHECK(proposal.closed_unix_ms == did.eta_unix_ms);
    OK(fog_governance_proposals(ledger, PROPOSAL, &proposal, 1, &count));
    CHECK(count == 0);
    OK(fog_economy_earn(ledger, id_of(27), "hosting", ANA, facts, 1, &did));
    CHECK(strcmp(did.amount.text, "15" CREDIT) == 0);
    fog_ledger_free(ledger);
}

static fog_delegated_part part(const char *to_account, uint32_t part_ppm) {
    fog_delegated_part part = {.part_ppm = part_ppm};
    strcpy(part.to_account, to_account);
    return part;
}

static void test_votes_are_delegated_and_roles_are_told(void) {
    fog_ledger *ledger = governed(false);
    const int32_t topics[] = {FOG_PROPOSAL_KIND_GENERAL};
    const fog_delegated_part split[] = {part(BEN, 250000), part(CLEO, 500000)};
    fog_voting_power power;
    OK(fog_ledger_set_time(ledger, START_MS + 1));
    OK(GOVERN(20, .kind = FOG_GOVERNANCE_KIND_DELEGATE, .account = ANA, .topics = topics,
              .topics_len = 1, .delegates = split, .delegates_len = 2));
    OK(fog_governance_power(ledger, CLEO, FOG_PROPOSAL_KIND_GENERAL, 0, &power));
    CHECK(strcmp(power.kept.text, "15000" CREDIT) == 0);
    CHECK(strcmp(power.received.text, "5000" CREDIT) == 0);
    OK(fog_governance_power(ledger, CLEO, FOG_PROPOSAL_KIND_GENERAL, START_MS, &power));
    CHECK(strcmp(power.kept.text, "10000" CREDIT) == 0);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_governance_power(ledger, CLEO, 7, 0, &power));
    size_t count = 0;
    fog_delegated_part parts[2];
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_governance_delegation(ledger, ANA, FOG_PROPOSAL_KIND_GENERAL, parts, 1, &count));
    OK(fog_governance_delegation(ledger, ANA, FOG_PROPOSAL_KIND_GENERAL, parts, 2, &count));
    CHECK(count == 2 && parts[1].part_ppm == 500000 && strcmp(parts[0].to_account, BEN) == 0);
    OK(GOVERN(21, .kind = FOG_GOVERNANCE_KIND_DELEGATE, .account = ANA));
    OK(fog_governance_delegation(ledger, ANA, FOG_PROPOSAL_KIND_GENERAL, NULL, 0, &count));
    CHECK(count == 0);
    fog_amount total;
    OK(fog_governance_total(ledger, START_MS, &total));
    CHECK(strcmp(total.text, "30000" CREDIT) == 0);
    FAILS(FOG_STATUS_FUTURE_LOOKUP, fog_governance_total(ledger, START_MS + 1, &total));

    fog_role_holder holder = {.role = FOG_ROLE_GUARDIAN};
    strcpy(holder.account, BEN);
    OK(GOVERN(22, .kind = FOG_GOVERNANCE_KIND_ESTABLISH, .roles = &holder, .roles_len = 1));
    OK(GOVERN(23, .kind = FOG_GOVERNANCE_KIND_SET_REPUTATION, .account = BEN,
              .reputation_ppm = 300000));
    fog_member member;
    OK(fog_governance_member(ledger, BEN, &member));
    CHECK(member.enrolled && member.role == FOG_ROLE_GUARDIAN && member.has_reputation &&
          member.reputation_ppm == 300000);
    fog_governance overview;
    OK(fog_governance_overview(ledger, &overview));
    CHECK(overview.established && overview.members == 3 && overview.roles == 1 &&
          !overview.earning_paused);
    CHECK(strcmp(overview.total.text, "70000" CREDIT) == 0);
    memset(&holder, 0, sizeof holder);
    OK(fog_governance_roles(ledger, &holder, 1, &count));
    CHECK(count == 1 && holder.role == FOG_ROLE_GUARDIAN && strcmp(holder.account, BEN) == 0);
    char *records = NULL;
    OK(fog_governance_records(ledger, &records));
    cJSON *left = cJSON_Parse(records);
    CHECK(cJSON_GetArraySize(get(left, "resolutions")) == 0);
    cJSON_Delete(left);
    fog_string_free(records);
    FAILS(FOG_STATUS_GOVERNED, fog_economy_set_parameter(
                                   ledger, id_of(24), "earning.fees.treasury", "1", NULL));
    OK(GOVERN(25, .kind = FOG_GOVERNANCE_KIND_DRAFT, .account = ANA, .proposal = PROPOSAL,
              .content = CHANGE("\"1\"")));
    OK(GOVERN(26, .kind = FOG_GOVERNANCE_KIND_SUBMIT, .account = ANA, .proposal = PROPOSAL));
    OK(GOVERN(27, .kind = FOG_GOVERNANCE_KIND_CANCEL, .account = ANA, .proposal = PROPOSAL));
    fog_proposal proposal;
    bool is_one = false;
    OK(fog_governance_proposal(ledger, PROPOSAL, &proposal, &is_one));
    CHECK(proposal.state == FOG_PROPOSAL_STATE_CANCELLED &&
          strcmp(proposal.cancelled_by, ANA) == 0);
    fog_ledger_free(ledger);
}

static void test_every_bad_request_of_governance_has_its_status(void) {
    fog_ledger *ledger = governed(false);
    const char *const other = "00000000000000000000000000000065";
    const char *const nobody = "000000000000000000000000000000a9";
    OK(fog_ledger_open_account(ledger, nobody, FOG_ACCOUNT_KIND_HOLDER, NULL));
    OK(fog_ledger_set_time(ledger, START_MS + DAY_MS));
    OK(GOVERN(20, PROPOSE(ANA, PROPOSAL, CHANGE("\"1\""))));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_governance_ask(ledger, id_of(200), NULL, NULL));
    REFUSED(FOG_STATUS_INVALID_ARGUMENT, .kind = 0);
    REFUSED(FOG_STATUS_INVALID_ARGUMENT, .kind = FOG_GOVERNANCE_KIND_QUEUE);
    REFUSED(FOG_STATUS_UNKNOWN_PROPOSAL, .kind = FOG_GOVERNANCE_KIND_QUEUE, .proposal = other);
    REFUSED(FOG_STATUS_WRONG_STATE, .kind = FOG_GOVERNANCE_KIND_QUEUE, .proposal = PROPOSAL);
    REFUSED(FOG_STATUS_NOT_PERMITTED, .kind = FOG_GOVERNANCE_KIND_CANCEL, .account = BEN,
            .proposal = PROPOSAL);
    REFUSED(FOG_STATUS_VOTING_NOT_STARTED, VOTE(ANA, FOG_CHOICE_FOR));
    REFUSED(FOG_STATUS_UNKNOWN_CHOICE, VOTE(ANA, 0));
    REFUSED(FOG_STATUS_UNKNOWN_CHOICE, VOTE(ANA, 4));
    /* A parameter of the wrong type, out of range, and one that there is not. */
    REFUSED(FOG_STATUS_INVALID_PROPOSAL, PROPOSE(ANA, other, CHANGE("true")));
    REFUSED(FOG_STATUS_PARAMETER_OUT_OF_RANGE,
            PROPOSE(ANA, other, CHANGE("\"1" CREDIT CREDIT "\"")));
#define SAYS(kind, description, actions)                                                        \
    "{\"kind\": \"" kind "\", \"title\": \"t\", \"description\": \"" description "\", " \
    "\"actions\": [" actions "]}"
    REFUSED(FOG_STATUS_UNKNOWN_PARAMETER,
            PROPOSE(ANA, other, SAYS("parameter_change", "", "{\"set_parameter\": "
                                     "{\"name\": \"x\", \"value\": \"1\"}}")));
    REFUSED(FOG_STATUS_NO_ACTIONS, PROPOSE(ANA, other, SAYS("general", "", "")));
#define REVOKE "{\"revoke_role\": {\"account\": \"000000000000000000000000000000a1\"}}"
#define FOUR REVOKE "," REVOKE "," REVOKE "," REVOKE
    REFUSED(FOG_STATUS_TOO_MANY_ACTIONS,
            PROPOSE(ANA, other, SAYS("general", "", FOUR "," FOUR "," FOUR "," FOUR "," REVOKE)));
    REFUSED(FOG_STATUS_CONTROL_CHARACTER,
            PROPOSE(ANA, other, SAYS("general", "\\u001b[2J", REVOKE)));
    REFUSED(FOG_STATUS_ACTION_NOT_ALLOWED,
            PROPOSE(ANA, other, SAYS("parameter_change", "", REVOKE)));
    REFUSED(FOG_STATUS_TREASURY_SHORT,
            PROPOSE(ANA, other, SAYS("treasury_allocation", "", "{\"pay\": {\"to\": "
                                     "\"000000000000000000000000000000a2\", \"amount\": "
                                     "\"9" CREDIT CREDIT "\", \"code\": 0}}")));
    REFUSED(FOG_STATUS_BELOW_THRESHOLD, PROPOSE(nobody, other, CHANGE("\"1\"")));
    const fog_delegated_part to_ben = part(BEN, 1000000), to_cleo = part(CLEO, 1000000);
    OK(GOVERN(21, .kind = FOG_GOVERNANCE_KIND_DELEGATE, .account = BEN, .delegates = &to_cleo,
              .delegates_len = 1));
    REFUSED(FOG_STATUS_CIRCULAR_DELEGATION, .kind = FOG_GOVERNANCE_KIND_DELEGATE, .account = CLEO,
            .delegates = &to_ben, .delegates_len = 1);
    REFUSED(FOG_STATUS_INVALID_DELEGATION, .kind = FOG_GOVERNANCE_KIND_DELEGATE, .account = CLEO,
            .delegates = &to_cleo, .delegates_len = 1);
    OK(fog_ledger_set_time(ledger, START_MS + 2 * DAY_MS + 1));
    OK(GOVERN(22, VOTE(ANA, FOG_CHOICE_ABSTAIN)));
    REFUSED(FOG_STATUS_ALREADY_VOTED, VOTE(ANA, FOG_CHOICE_ABSTAIN));
    REFUSED(FOG_STATUS_NO_VOTING_POWER, VOTE(nobody, FOG_CHOICE_FOR));
    fog_ballot ballot;
    bool is_one = false;
    FAILS(FOG_STATUS_UNKNOWN_PROPOSAL, fog_governance_ballot(ledger, other, ANA, &ballot, &is_one));
    OK(fog_ledger_set_time(ledger, START_MS + 9 * DAY_MS + 1));
    REFUSED(FOG_STATUS_VOTING_OVER, VOTE(BEN, FOG_CHOICE_FOR));
    fog_ledger_free(ledger);
}

static void test_what_is_signed_of_governance_is_the_same(void) {
    const cJSON *area = get(shared, "governance"), *step;
    const char *account = text(area, "account");
    uint8_t secret[FOG_KEY_BYTES], key[FOG_KEY_BYTES], bytes[4096];
    unhex_into(text(area, "secret"), secret, sizeof secret);
    OK(fog_owner_key(secret, sizeof secret, key));
    CHECK(is_hex(key, sizeof key, text(area, "key")));
    cJSON_ArrayForEach(step, get(area, "signed")) {
        fog_governance_request request = {.account = account, .proposal = text(area, "proposal")};
        char *content = NULL;
        if (strcmp(text(step, "op"), "vote") == 0) {
            const char *const choices[] = {"against", "for", "abstain"};
            request.kind = FOG_GOVERNANCE_KIND_VOTE;
            for (int32_t n = 0; n < 3; n++) {
                if (strcmp(text(step, "choice"), choices[n]) == 0) {
                    request.choice = FOG_CHOICE_AGAINST + n;
                }
            }
        } else {
            request.kind = FOG_GOVERNANCE_KIND_PROPOSE;
            request.content = content = cJSON_PrintUnformatted(get(step, "content"));
        }
        fog_batch *batch = NULL;
        size_t len;
        OK(fog_batch_new(&batch));
        OK(fog_batch_governance(batch, text(step, "id"), &request));
        free(content);
        const uint64_t nonce = whole(step, "nonce"), expires = whole(area, "expires_unix_ms");
        OK(fog_batch_sign(batch, account, nonce, expires, secret, sizeof secret, bytes,
                          sizeof bytes, &len));
        CHECK(is_hex(bytes, len, text(step, "batch")));
        OK(fog_batch_message(batch, account, nonce, expires, bytes, sizeof bytes, &len));
        CHECK(is_hex(bytes, len, text(step, "message")));
        fog_batch_free(batch);
    }
}

/* ---- harvesting --------------------------------------------------------------------------- */

static fog_device_state read_state(const cJSON *item) {
    const char *const classes[] = {"phone", "laptop", "desktop", "server"};
    const char *const networks[] = {"unknown", "offline", "ethernet", "wifi", "cellular"};
    fog_device_state state = {0};
    state.device_class = named(text(item, "class"), classes, 4);
    state.network = named(text(item, "network"), networks, 5);
    const cJSON *value = get(item, "battery");
    const cJSON *present = maybe(value, "present");
    if (present != NULL) {
        state.battery.kind = FOG_BATTERY_KIND_PRESENT;
        state.battery.level_percent = number(present, "level_percent");
        state.battery.charging = truth(present, "charging");
    } else if (strcmp(cJSON_GetStringValue(value), "absent") == 0) {
        state.battery.kind = FOG_BATTERY_KIND_ABSENT;
    }
#define READ(field, convert)                                                               \
    if (maybe(item, #field) != NULL) {                                                     \
        state.has_##field = true;                                                          \
        state.field = convert(item, #field);                                               \
    }
    READ(cpu_cores, (uint32_t)whole)
    READ(cpu_load, number)
    READ(memory_total_bytes, whole)
    READ(memory_available_bytes, whole)
    READ(battery_temperature_celsius, number)
    READ(temperature_celsius, number)
    READ(metered, truth)
    READ(screen_on, truth)
    READ(minute_of_day, (uint16_t)whole)
#undef READ
    value = maybe(item, "user_idle");
    if (value != NULL) {
        state.has_user_idle_ns = true;
        state.user_idle_ns = whole(value, "secs") * 1000000000 + whole(value, "nanos");
    }
    return state;
}

static fog_status read_policy(const char *name, fog_harvest_policy **policy) {
    if (strcmp(name, "default") == 0) {
        return fog_harvest_policy_default(policy);
    }
    if (strcmp(name, "always") == 0) {
        return fog_harvest_policy_always(policy);
    }
    return fog_harvest_policy_from_toml(name, policy);
}

static void same_decision(const fog_decision *decision, const cJSON *item) {
    const char *const verdicts[] = {"allow", "throttle", "refuse"};
    CHECK((int32_t)fog_decision_verdict(decision) == named(text(item, "verdict"), verdicts, 3));
    const cJSON *expected_budget = get(item, "budget");
    fog_budget budget;
    OK(fog_decision_budget(decision, &budget));
    CHECK(budget.cpu_share == number(expected_budget, "cpu_share"));
    CHECK(budget.memory_bytes == whole(expected_budget, "memory_bytes"));
    CHECK(budget.bandwidth_bits_per_second ==
          whole(expected_budget, "bandwidth_bits_per_second"));
    size_t count = fog_decision_reason_count(decision);
    CHECK(count == (size_t)cJSON_GetArraySize(get(item, "reasons")));
    fog_reason reason;
    for (size_t i = 0; i < count; i++) {
        OK(fog_decision_reason(decision, i, &reason));
        int at = (int)i;
        CHECK(strcmp(reason.code, cJSON_GetStringValue(
                                      cJSON_GetArrayItem(get(item, "reasons"), at))) == 0);
        CHECK(strcmp(reason.text,
                     cJSON_GetStringValue(cJSON_GetArrayItem(get(item, "texts"), at))) == 0);
        CHECK(reason.objection ==
              cJSON_IsTrue(cJSON_GetArrayItem(get(item, "objections"), at)));
    }
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_decision_reason(decision, count, &reason));
}

static int32_t battery_of_user_data(void *user_data, fog_battery *out) {
    *out = *(const fog_battery *)user_data;
    return 0;
}

static int32_t battery_unavailable(void *user_data, fog_battery *out) {
    (void)user_data, (void)out;
    return FOG_STATUS_PROBE_FAILED;
}

static int32_t battery_broken(void *user_data, fog_battery *out) {
    (void)user_data, (void)out;
    return -3;
}

static void test_policies_decide_alike(void) {
    const cJSON *item;
    cJSON_ArrayForEach(item, get(shared, "harvest")) {
        fog_device_state state = read_state(get(item, "state"));
        fog_harvest_policy *policy = NULL;
        fog_status status = read_policy(text(item, "policy"), &policy);
        CHECK(status == expected(item));
        if (status != FOG_STATUS_OK) {
            continue;
        }
        fog_decision *decision = NULL;
        OK(fog_harvest_policy_decide(policy, &state, &decision));
        same_decision(decision, item);
        fog_decision_free(decision);
        /* The same when the battery comes from a probe. */
        fog_battery battery = state.battery;
        memset(&state.battery, 0, sizeof state.battery);
        fog_battery_probe probe = {.battery = battery_of_user_data, .user_data = &battery};
        OK(fog_harvest_policy_decide_with_probe(policy, &state, &probe, &decision));
        same_decision(decision, item);
        fog_decision_free(decision);
        fog_harvest_policy_free(policy);
    }
}

/* Whether that reason contributes to what a policy says of a device. */
static bool objects(const fog_harvest_policy *policy, const fog_device_state *state,
                    const char *code) {
    fog_decision *decision;
    OK(fog_harvest_policy_decide(policy, state, &decision));
    bool found = false;
    for (size_t i = 0; i < fog_decision_reason_count(decision); i++) {
        fog_reason reason;
        OK(fog_decision_reason(decision, i, &reason));
        found = found || strcmp(reason.code, code) == 0;
    }
    fog_decision_free(decision);
    return found;
}

static void test_a_probe_may_fail(void) {
    fog_harvest_policy *policy = NULL;
    fog_decision *decision = NULL;
    fog_device_state state = {.device_class = FOG_DEVICE_CLASS_LAPTOP};
    OK(fog_harvest_policy_default(&policy));
    fog_battery_probe probe = {.battery = battery_unavailable};
    FAILS(FOG_STATUS_PROBE_FAILED,
          fog_harvest_policy_decide_with_probe(policy, &state, &probe, &decision));
    probe.battery = battery_broken;
    FAILS(FOG_STATUS_HOST_CALLBACK,
          fog_harvest_policy_decide_with_probe(policy, &state, &probe, &decision));
    CHECK(strstr(fog_last_error_message(), "battery returned -3") != NULL);
    fog_battery nonsense = {.kind = 17};
    probe.battery = battery_of_user_data;
    probe.user_data = &nonsense;
    FAILS(FOG_STATUS_HOST_CALLBACK,
          fog_harvest_policy_decide_with_probe(policy, &state, &probe, &decision));
    probe.battery = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_harvest_policy_decide_with_probe(policy, &state, &probe, &decision));
    state.device_class = 4;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_harvest_policy_decide(policy, &state, &decision));
    state.device_class = FOG_DEVICE_CLASS_SERVER;
    state.network = -1;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_harvest_policy_decide(policy, &state, &decision));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_harvest_policy_from_toml("\xff", &policy));
    CHECK(decision == NULL);

    /* A phone wants more charge than other devices, and its owner may say otherwise. */
    fog_harvest_policy *phone, *own;
    OK(fog_harvest_policy_phone(&phone));
    OK(fog_harvest_policy_with_toml(phone, "battery_percent_min = 40.0", &own));
    FAILS(FOG_STATUS_INVALID_POLICY, fog_harvest_policy_with_toml(phone, "batery = 1", &own));
    state = (fog_device_state){.device_class = FOG_DEVICE_CLASS_PHONE,
                               .battery = {.kind = FOG_BATTERY_KIND_PRESENT,
                                           .level_percent = 45,
                                           .charging = true}};
    CHECK(!objects(policy, &state, "battery_low"));
    CHECK(objects(phone, &state, "battery_low"));
    CHECK(!objects(own, &state, "battery_low"));
    fog_harvest_policy_free(phone);
    fog_harvest_policy_free(own);
    fog_harvest_policy_free(policy);
}

/* ---- fog ---------------------------------------------------------------------------------- */

static uint8_t *read_module(const char *name, size_t *len) {
    if (strcmp(name, "echo") == 0) {
        return (uint8_t *)read_file("examples/wasm/echo.wasm", len);
    }
    if (strcmp(name, "sum") == 0) {
        return (uint8_t *)read_file("examples/wasm/sum.wasm", len);
    }
    return unhex(name, len);
}

/* A loop without end, from the vectors: the task that runs out of a million fuel. */
static uint8_t *endless_module(size_t *len) {
    const cJSON *item;
    cJSON_ArrayForEach(item, get(shared, "wasm")) {
        if (expected(item) == FOG_STATUS_OUT_OF_FUEL && whole(item, "fuel") == 1000000) {
            return read_module(text(item, "module"), len);
        }
    }
    fprintf(stderr, "the vectors have no endless task\n");
    exit(2);
}

static fog_fog *one_worker(void) {
    fog_fog_config config;
    OK(fog_fog_config_default(&config));
    config.workers = 1;
    fog_fog *fog = NULL;
    OK(fog_fog_new(&config, &fog));
    return fog;
}

static void test_tasks_end_alike(void) {
    fog_fog *fog = one_worker();
    uint64_t succeeded = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, get(shared, "wasm")) {
        size_t module_len, input_len;
        uint8_t *module = read_module(text(item, "module"), &module_len);
        uint8_t *input = unhex(text(item, "input"), &input_len);
        fog_limits limits = {.fuel = whole(item, "fuel"),
                             .memory_bytes = whole(item, "memory_bytes"),
                             .output_bytes = whole(item, "output_bytes")};
        fog_output *output = NULL;
        fog_status status =
            fog_fog_run(fog, module, module_len, input, input_len, &limits, &output);
        CHECK(status == expected(item));
        if (status == FOG_STATUS_OK) {
            fog_usage usage;
            CHECK(is_hex(fog_output_data(output), fog_output_len(output), text(item, "output")));
            OK(fog_output_usage(output, &usage));
            CHECK(usage.fuel == whole(item, "fuel_used"));
            CHECK(usage.memory_bytes_peak == whole(item, "memory_bytes_peak"));
            CHECK(usage.wall_ns > 0);
            succeeded++;
        }
        fog_output_free(output);
        free(module);
        free(input);
    }
    fog_stats stats;
    OK(fog_fog_stats(fog, &stats));
    CHECK(stats.succeeded == succeeded);
    CHECK(strcmp(stats.paid.text, "0") != 0);
    OK(fog_fog_close(fog));
    OK(fog_fog_close(fog));
    FAILS(FOG_STATUS_CLOSED, fog_fog_stats(fog, &stats));
    fog_fog_free(fog);
}

static fog_task_status polled(const fog_worker *worker, const fog_id *task) {
    fog_task_status status;
    OK(fog_worker_poll(worker, task->text, &status));
    return status;
}

static void test_a_worker_keeps_its_tasks(void) {
    char path[] = "/tmp/fogcompute-c-XXXXXX";
    must(mkdtemp(path));
    char file[64];
    snprintf(file, sizeof file, "%s/tasks", path);
    size_t sum_len, endless_len;
    uint8_t *sum = read_module("sum", &sum_len), *endless = endless_module(&endless_len);
    const uint8_t input[] = {1, 2, 39};
    fog_worker *worker = NULL, *other = NULL;
    OK(fog_worker_open(file, 2, NULL, &worker));
    FAILS(FOG_STATUS_STORAGE_LOCKED, fog_worker_open(file, 2, NULL, &other));

    fog_id task, again, long_task;
    OK(fog_worker_submit(worker, sum, sum_len, input, sizeof input, NULL, "once", &task));
    OK(fog_worker_submit(worker, sum, sum_len, input, sizeof input, NULL, "once", &again));
    CHECK(strcmp(task.text, again.text) == 0);
    FAILS(FOG_STATUS_ID_REUSED,
          fog_worker_submit(worker, sum, sum_len, input, 1, NULL, "once", &again));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_worker_submit(worker, NULL, 0, input, 1, NULL, NULL, &again));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_worker_submit(worker, sum, sum_len, input, 1, NULL, "", &again));
    fog_output *output = NULL;
    OK(fog_worker_wait(worker, task.text, &output));
    CHECK(fog_output_len(output) == 8 && fog_output_data(output)[0] == 42);
    fog_output_free(output);

    fog_limits limits;
    OK(fog_limits_default(&limits));
    limits.fuel = UINT64_MAX / 4;
    OK(fog_worker_submit(worker, endless, endless_len, NULL, 0, &limits, NULL, &long_task));
    while (polled(worker, &long_task).state != FOG_TASK_STATE_RUNNING) {
    }
    FAILS(FOG_STATUS_TASK_OPEN, fog_worker_fetch(worker, long_task.text, &output));
    OK(fog_worker_cancel(worker, long_task.text));
    FAILS(FOG_STATUS_CANCELLED, fog_worker_wait(worker, long_task.text, &output));
    CHECK(polled(worker, &long_task).state == FOG_TASK_STATE_CANCELLED);
    limits.wall_ms = 20;
    OK(fog_worker_submit(worker, endless, endless_len, NULL, 0, &limits, NULL, &long_task));
    FAILS(FOG_STATUS_TASK_TIMED_OUT, fog_worker_wait(worker, long_task.text, &output));
    CHECK(polled(worker, &long_task).state == FOG_TASK_STATE_TIMED_OUT);
    limits.log_bytes = UINT64_MAX;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_worker_submit(worker, sum, sum_len, input, 1, &limits, NULL, &again));
    FAILS(FOG_STATUS_UNKNOWN_TASK,
          fog_worker_fetch(worker, "0123456789abcdef0123456789abcdef", &output));
    OK(fog_worker_close(worker));
    OK(fog_worker_close(worker));
    FAILS(FOG_STATUS_CLOSED, fog_worker_fetch(worker, task.text, &output));
    fog_worker_free(worker);

    OK(fog_worker_open(file, 0, NULL, &worker));
    OK(fog_worker_fetch(worker, task.text, &output));
    CHECK(fog_output_data(output)[0] == 42);
    fog_output_free(output);
    CHECK(polled(worker, &task).state == FOG_TASK_STATE_SUCCEEDED);
    CHECK(polled(worker, &task).attempts == 1);
    fog_worker_free(worker);
    fog_worker_free(NULL);
    free(sum);
    free(endless);
    unlink(file);
    rmdir(path);
}

/* ---- a fog of processes ----------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *walk) {
    (void)found, (void)kind, (void)walk;
    return remove(path);
}

/* A folder with a coordinator whose nodes and clients live beside it. */
struct coordination {
    char folder[32];
    char address[FOG_ADDRESS_SIZE];
    fog_node_id id;
    fog_fog_coordinator *coordinator;
};

static void within(const struct coordination *fog, const char *name, char path[64]) {
    snprintf(path, 64, "%s/%s", fog->folder, name);
}

static struct coordination start_coordination(void) {
    struct coordination fog = {.folder = "/tmp/fogcompute-fog-XXXXXX"};
    must(mkdtemp(fog.folder));
    char data[64];
    within(&fog, "fog", data);
    OK(fog_fog_coordinator_start(data, NULL, &fog.coordinator));
    OK(fog_fog_coordinator_whereabouts(fog.coordinator, &fog.id, fog.address));
    return fog;
}

static void end_coordination(struct coordination *fog) {
    fog_fog_coordinator_free(fog->coordinator);
    CHECK(nftw(fog->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static char *issued(const struct coordination *fog, const char *actions) {
    fog_fog_token_terms terms;
    OK(fog_fog_token_terms_default(&terms));
    terms.actions = actions;
    terms.tasks_max = 1000;
    char *token = NULL;
    OK(fog_fog_coordinator_issue_token(fog->coordinator, &terms, &token));
    return token;
}

static fog_fog_client *admitted(const struct coordination *fog, const char *actions) {
    char *token = issued(fog, actions);
    fog_fog_client *client = NULL;
    OK(fog_fog_client_new(token, 60000, &client));
    fog_string_free(token);
    return client;
}

static fog_fog_node *started(const struct coordination *fog, const char *name, int32_t layer) {
    fog_harvest_policy *always = NULL;
    OK(fog_harvest_policy_always(&always));
    fog_fog_node_config config;
    OK(fog_fog_node_config_default(&config));
    CHECK(config.layer == -1 && config.heartbeat_ms == 30000 && config.nodes_on_machine == 1);
    config.layer = layer;
    config.policy = always;
    config.heartbeat_ms = 200;
    char data[64];
    within(fog, name, data);
    fog_fog_node *node = NULL;
    OK(fog_fog_node_start(fog->address, fog->id.text, data, &config, &node));
    fog_harvest_policy_free(always);
    return node;
}

/* What callbacks of another thread say, one after the other. */
struct heard {
    pthread_mutex_t lock;
    pthread_cond_t said;
    int ends;
    fog_status status;
    uint64_t last;
    int kinds[8];
};

static void begin_hearing(struct heard *heard) {
    memset(heard, 0, sizeof *heard);
    pthread_mutex_init(&heard->lock, NULL);
    pthread_cond_init(&heard->said, NULL);
}

static void heard_end(struct heard *heard, fog_status status, uint64_t last) {
    pthread_mutex_lock(&heard->lock);
    heard->ends++;
    heard->status = status;
    heard->last = last;
    pthread_cond_signal(&heard->said);
    pthread_mutex_unlock(&heard->lock);
}

/* How what was begun ended. */
static fog_status end_of(struct heard *heard) {
    pthread_mutex_lock(&heard->lock);
    while (heard->ends == 0) {
        pthread_cond_wait(&heard->said, &heard->lock);
    }
    pthread_mutex_unlock(&heard->lock);
    pthread_mutex_destroy(&heard->lock);
    pthread_cond_destroy(&heard->said);
    return heard->status;
}

static void on_joined(void *user_data, fog_status status, const char *message) {
    CHECK((status == FOG_STATUS_OK) == (message[0] == '\0'));
    heard_end(user_data, status, 0);
}

static int32_t on_event(void *user_data, const fog_fog_event *event) {
    struct heard *heard = user_data;
    heard->kinds[event->kind]++;
    return event->kind == FOG_FOG_EVENT_KIND_JOB_ENDED;
}

static void on_watched(void *user_data, fog_status status, uint64_t last, const char *message) {
    CHECK((status == FOG_STATUS_OK) == (message[0] == '\0'));
    heard_end(user_data, status, last);
}

static void let_in(const fog_fog_node *node) {
    struct heard heard;
    begin_hearing(&heard);
    OK(fog_fog_node_joined(node, on_joined, &heard));
    CHECK(end_of(&heard) == FOG_STATUS_OK);
}

static void test_a_fog_of_processes_does_a_job_and_tells_of_it(void) {
    struct coordination fog = start_coordination();
    fog_fog_node *mix = started(&fog, "mix", 0), *compute = started(&fog, "compute", -1);
    let_in(mix);
    let_in(compute);
    fog_fog_client *client = admitted(&fog, "submit, query, drain");
    struct heard heard;
    begin_hearing(&heard);
    OK(fog_fog_client_observe(client, 0, on_event, on_watched, &heard));

    size_t sum_len;
    uint8_t *sum = read_module("sum", &sum_len);
    const uint8_t first[] = {1, 2}, second[] = {39, 3};
    const fog_fog_input inputs[] = {{first, sizeof first}, {second, sizeof second}};
    fog_fog_job_options options;
    OK(fog_fog_job_options_default(&options));
    options.id = "0123456789abcdef0123456789abcdef";
    options.priority = FOG_PRIORITY_HIGH;
    fog_fog_job job;
    OK(fog_fog_client_submit(client, sum, sum_len, inputs, 2, &options, &job));
    CHECK(strcmp(job.id, options.id) == 0 && strcmp(job.privacy, "private") == 0);
    CHECK(job.priority == FOG_PRIORITY_HIGH);
    FAILS(FOG_STATUS_ID_REUSED,
          fog_fog_client_submit(client, sum, sum_len, inputs, 1, &options, &job));
    OK(fog_fog_client_wait(client, job.id, &job));
    CHECK(job.succeeded == 2 && job.open == 0 && strcmp(job.reserved.text, "0") == 0);

    fog_fog_task tasks[2];
    size_t len;
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_fog_client_tasks(client, job.id, tasks, 1, &len));
    CHECK(len == 2);
    OK(fog_fog_client_tasks(client, job.id, tasks, 2, &len));
    fog_node_id computes;
    OK(fog_fog_node_id(compute, &computes));
    for (size_t index = 0; index < len; index++) {
        fog_fog_task alone;
        OK(fog_fog_client_task(client, tasks[index].id, &alone));
        CHECK(strcmp(alone.id, tasks[index].id) == 0 && strcmp(alone.job, job.id) == 0);
        CHECK(alone.state == tasks[index].state && alone.attempts == tasks[index].attempts);
        CHECK(tasks[index].state == FOG_FOG_TASK_STATE_SUCCEEDED);
        CHECK(strcmp(tasks[index].node, computes.text) == 0);
        fog_output *output = NULL;
        OK(fog_fog_client_result(client, tasks[index].id, &output));
        CHECK(fog_output_data(output)[0] == (index == 0 ? 3 : 42));
        fog_output_free(output);
    }
    CHECK(end_of(&heard) == FOG_STATUS_OK);
    CHECK(heard.kinds[FOG_FOG_EVENT_KIND_ADMITTED] == 1);
    CHECK(heard.kinds[FOG_FOG_EVENT_KIND_ENDED] == 2);
    uint64_t last = 0;
    OK(fog_fog_client_last_event(client, &last));
    CHECK(last == heard.last);

    size_t says_len;
    uint8_t *says = (uint8_t *)read_file("examples/wasm/says.wasm", &says_len);
    const fog_fog_input words = {(const uint8_t *)"hello", 5};
    options.id = NULL;
    CHECK(!options.host_calls);
    options.host_calls = true;
    OK(fog_fog_client_submit(client, says, says_len, &words, 1, &options, &job));
    OK(fog_fog_client_wait(client, job.id, &job));
    OK(fog_fog_client_tasks(client, job.id, tasks, 2, &len));
    char *log = NULL;
    OK(fog_fog_client_log(client, tasks[0].id, &log));
    CHECK(len == 1 && strcmp(log, "hello\n") == 0);
    fog_string_free(log);
    free(says);
    fog_fog_job latest[3];
    OK(fog_fog_client_jobs(client, latest, 3, &len));
    CHECK(len == 2 && strcmp(latest[0].id, job.id) == 0);
    CHECK(strcmp(latest[1].id, "0123456789abcdef0123456789abcdef") == 0);
    OK(fog_fog_client_jobs(client, latest, 1, &len));
    CHECK(len == 1 && strcmp(latest[0].id, job.id) == 0);

    fog_fog_snapshot before[100];
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_fog_client_topology_history(client, before, 0, &len));
    OK(fog_fog_client_topology_history(client, before, 100, &len));
    CHECK(len >= 1 && before[0].at_unix_ms > 0 && before[0].mixnodes == 0);
    char *metrics = NULL;
    OK(fog_fog_client_metrics(client, &metrics));
    CHECK(strstr(metrics, "# TYPE ") != NULL);
    fog_string_free(metrics);

    OK(fog_fog_client_drain(client, computes.text));
    fog_fog_member members[2];
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_fog_client_topology(client, members, 1, &len));
    OK(fog_fog_client_topology(client, members, 2, &len));
    for (size_t index = 0; index < len; index++) {
        const bool is_mix = members[index].layer == 0;
        CHECK(strcmp(members[index].kind, is_mix ? "mixnode" : "compute") == 0);
        CHECK(is_mix || strcmp(members[index].status, "draining") == 0 ||
              strcmp(members[index].status, "maintenance") == 0);
        CHECK(members[index].linked);
    }
    OK(fog_fog_client_undrain(client, computes.text));
    FAILS(FOG_STATUS_UNKNOWN_NODE, fog_fog_client_drain(client, fog.id.text));
    uint32_t cancelled;
    FAILS(FOG_STATUS_TOKEN_FORBIDS, fog_fog_client_cancel(client, job.id, &cancelled));
    FAILS(FOG_STATUS_TOKEN_FORBIDS, fog_fog_client_cancel_task(client, tasks[0].id, NULL));

    fog_fog_node_status status;
    char *trouble = NULL;
    OK(fog_fog_node_status_of(compute, &status, &trouble));
    CHECK(status.joined && !status.ended && trouble[0] == '\0');
    fog_string_free(trouble);
    OK(fog_fog_node_close(compute));
    OK(fog_fog_node_status_of(compute, &status, &trouble));
    CHECK(status.ended);
    fog_string_free(trouble);
    free(sum);
    fog_fog_client_free(client);
    fog_fog_node_free(compute);
    fog_fog_node_free(mix);
    end_coordination(&fog);
}

static void test_who_watches_a_fog_waits_and_is_told_of_the_end(void) {
    struct coordination fog = start_coordination();
    fog_fog_client *client = admitted(&fog, NULL);
    fog_fog_watch *watch = NULL;
    OK(fog_fog_client_watch(client, 0, &watch));
    fog_fog_event event;
    bool received = true;
    OK(fog_fog_watch_receive(watch, 0, &event, &received));
    CHECK(!received);
    const uint8_t module[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    const fog_fog_input inputs[] = {{NULL, 0}, {NULL, 0}};
    fog_fog_job job;
    OK(fog_fog_client_submit(client, module, sizeof module, inputs, 2, NULL, &job));
    OK(fog_fog_watch_receive(watch, UINT64_C(60000000000), &event, &received));
    CHECK(received && event.kind == FOG_FOG_EVENT_KIND_ADMITTED && event.tasks == 2);
    CHECK(strcmp(event.job, job.id) == 0 && event.task[0] == '\0');
    fog_fog_task tasks[2];
    size_t len;
    OK(fog_fog_client_tasks(client, job.id, tasks, 2, &len));
    bool was = false;
    OK(fog_fog_client_cancel_task(client, tasks[0].id, &was));
    CHECK(was);
    OK(fog_fog_client_cancel_task(client, tasks[0].id, &was));
    CHECK(!was);
    uint32_t cancelled = 0;
    OK(fog_fog_client_cancel(client, job.id, &cancelled));
    CHECK(cancelled == 1);
    OK(fog_fog_client_task(client, tasks[0].id, &tasks[0]));
    CHECK(tasks[0].state == FOG_FOG_TASK_STATE_CANCELLED && tasks[0].node[0] == '\0');
    fog_output *output = NULL;
    FAILS(FOG_STATUS_NO_RESULT, fog_fog_client_result(client, tasks[0].id, &output));
    struct heard heard;
    begin_hearing(&heard);
    uint64_t last = 0;
    OK(fog_fog_client_last_event(client, &last));
    OK(fog_fog_client_observe(client, last, on_event, on_watched, &heard));
    OK(fog_fog_client_close(client));
    OK(fog_fog_client_close(client));
    CHECK(end_of(&heard) == FOG_STATUS_CLOSED && heard.last == last);
    FAILS(FOG_STATUS_CLOSED, fog_fog_client_job(client, job.id, &job));
    fog_fog_client_free(client);
    OK(fog_fog_watch_close(watch));
    fog_fog_watch_free(watch);
    end_coordination(&fog);
}

static void test_what_a_fog_of_processes_refuses_has_its_status(void) {
    struct coordination fog = start_coordination();
    char data[64];
    within(&fog, "other", data);
    fog_fog_coordinator *other = NULL;
    fog_fog_coordinator_config usual, wrong;
    OK(fog_fog_coordinator_config_default(&usual));
    usual.listen = fog.address;
    FAILS(FOG_STATUS_LISTEN, fog_fog_coordinator_start(data, &usual, &other));
    wrong = usual;
    wrong.listen = "here";
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_coordinator_start(data, &wrong, &other));
    usual.listen = NULL;
    wrong = usual;
    wrong.placement = "nowhere";
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_coordinator_start(data, &wrong, &other));
    wrong = usual;
    wrong.layers = 200;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_coordinator_start(data, &wrong, &other));
    wrong = usual;
    wrong.nodes_max = 5000;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_coordinator_start(data, &wrong, &other));
    /* What it begins with is said once. */
    const fog_amount credit = {.text = "1000000000000000000"}, more = {.text = "2000000000000000000"};
    usual.placement = "optimised";
    usual.endowment = &credit;
    usual.delay_ms = 1;
    within(&fog, "small", data);
    OK(fog_fog_coordinator_start(data, &usual, &other));
    fog_fog_token_terms terms;
    OK(fog_fog_token_terms_default(&terms));
    char *token = NULL;
    terms.account = "nobody";
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_coordinator_issue_token(other, &terms, &token));
    terms.account = "000000000000000000000000000000aa";
    terms.valid_for_ms = 0;
    OK(fog_fog_coordinator_issue_token(other, &terms, &token));
    fog_fog_client *late = NULL;
    OK(fog_fog_client_new(token, 60000, &late));
    fog_string_free(token);
    uint64_t last;
    FAILS(FOG_STATUS_TOKEN_EXPIRED, fog_fog_client_last_event(late, &last));
    fog_fog_client_free(late);
    OK(fog_fog_coordinator_close(other));
    FAILS(FOG_STATUS_CLOSED, fog_fog_coordinator_issue_token(other, NULL, &token));
    fog_fog_coordinator_free(other);
    usual.endowment = &more;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_coordinator_start(data, &usual, &other));
    within(&fog, "a node", data);
    fog_fog_node *node = NULL;
    fog_fog_node_config config;
    OK(fog_fog_node_config_default(&config));
    config.layer = 1000;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_node_start(fog.address, fog.id.text, data, &config, &node));
    /* It was started, and the coordinator did not understand it. */
    config.layer = 200;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_node_start(fog.address, fog.id.text, data, &config, &node));
    CHECK(strstr(fog_last_error_message(), "mix layer 200") != NULL);
    config.layer = -1;
    config.nodes_on_machine = 0;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_node_start(fog.address, fog.id.text, data, &config, &node));
    config.nodes_on_machine = 1;
    config.heartbeat_ms = 0;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_node_start(fog.address, fog.id.text, data, &config, &node));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_node_start(fog.address, "x", data, NULL, &node));
    fog_fog_client *client = NULL;
    FAILS(FOG_STATUS_INVALID_TOKEN, fog_fog_client_new("", 1000, &client));
    within(&fog, "none", data);
    CHECK(fog_fog_client_open(data, 1000, &client) / 100 == 7);
    client = admitted(&fog, "query");
    const uint8_t module[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    const fog_fog_input input = {NULL, 0};
    fog_fog_job job;
    FAILS(FOG_STATUS_TOKEN_FORBIDS,
          fog_fog_client_submit(client, module, sizeof module, &input, 1, NULL, &job));
    FAILS(FOG_STATUS_UNKNOWN_TASK,
          fog_fog_client_job(client, "0123456789abcdef0123456789abcdef", &job));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_client_job(client, "x", &job));
    fog_fog_task task;
    FAILS(FOG_STATUS_UNKNOWN_TASK,
          fog_fog_client_task(client, "0123456789abcdef0123456789abcdef", &task));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_client_observe(client, 0, NULL, on_watched, NULL));
    fog_fog_job_options options;
    OK(fog_fog_job_options_default(&options));
    options.privacy = "open";
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_client_submit(client, module, sizeof module, &input, 1, &options, &job));
    fog_fog_client_free(client);
    client = admitted(&fog, NULL);
    FAILS(FOG_STATUS_INVALID_JOB,
          fog_fog_client_submit(client, module, sizeof module, NULL, 0, NULL, &job));
    fog_fog_client_free(client);
    token = issued(&fog, NULL);
    OK(fog_fog_coordinator_close(fog.coordinator));
    OK(fog_fog_client_new(token, 200, &client));
    FAILS(FOG_STATUS_COORDINATOR_UNREACHABLE,
          fog_fog_client_wait(client, "0123456789abcdef0123456789abcdef", &job));
    fog_string_free(token);
    fog_fog_client_free(client);
    fog_fog_client_free(NULL);
    fog_fog_node_free(NULL);
    fog_fog_watch_free(NULL);
    end_coordination(&fog);
}

static void test_a_fog_refuses_what_it_cannot_be(void) {
    fog_fog_config config;
    fog_fog *fog = NULL;
    OK(fog_fog_config_default(&config));
    config.workers = 0;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_new(&config, &fog));
    config.workers = 1;
    config.memory_bytes = 0;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_new(&config, &fog));
    config.memory_bytes = 1 << 20;
    memset(config.endowment.text, '9', sizeof config.endowment.text);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_fog_new(&config, &fog));
    CHECK(fog == NULL);
}

/* What a callback was told. */
struct ending {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int calls;
    fog_status status;
    uint8_t output[64];
    size_t output_len;
    char message[256];
    fog_fog *fog;           /* asked for its figures, if there is one */
    uint64_t succeeded;
    fog_mixnet_client *client;
};

static void ending_init(struct ending *ending) {
    memset(ending, 0, sizeof *ending);
    pthread_mutex_init(&ending->lock, NULL);
    pthread_cond_init(&ending->ended, NULL);
}

static void ending_destroy(struct ending *ending) {
    pthread_cond_destroy(&ending->ended);
    pthread_mutex_destroy(&ending->lock);
}

static void on_ended(void *user_data, fog_status status, const fog_output *output,
                     const char *message) {
    struct ending *ending = user_data;
    fog_stats stats = {0};
    if (ending->fog != NULL) {
        fog_fog_stats(ending->fog, &stats);
    }
    pthread_mutex_lock(&ending->lock);
    ending->calls++;
    ending->status = status;
    ending->output_len = fog_output_len(output);
    if (output != NULL && ending->output_len <= sizeof ending->output) {
        memcpy(ending->output, fog_output_data(output), ending->output_len);
    }
    snprintf(ending->message, sizeof ending->message, "%s", message);
    ending->succeeded = stats.succeeded;
    pthread_cond_signal(&ending->ended);
    pthread_mutex_unlock(&ending->lock);
}

static void wait_for(struct ending *ending) {
    pthread_mutex_lock(&ending->lock);
    while (ending->calls == 0) {
        pthread_cond_wait(&ending->ended, &ending->lock);
    }
    pthread_mutex_unlock(&ending->lock);
}

static void test_submitted_tasks_tell_how_they_ended_once(void) {
    fog_fog *fog = one_worker();
    size_t echo_len;
    uint8_t *echo = read_module("echo", &echo_len);
    struct ending endings[8];
    for (size_t i = 0; i < 8; i++) {
        uint8_t input[] = {(uint8_t)i, 42};
        ending_init(&endings[i]);
        endings[i].fog = fog;
        OK(fog_fog_submit(fog, echo, echo_len, input, sizeof input, NULL, on_ended, &endings[i],
                          NULL));
    }
    for (size_t i = 0; i < 8; i++) {
        wait_for(&endings[i]);
        CHECK(endings[i].status == FOG_STATUS_OK);
        CHECK(endings[i].output_len == 2 && endings[i].output[0] == i);
        CHECK(endings[i].message[0] == '\0');
        CHECK(endings[i].succeeded >= 1);
    }
    struct ending failed;
    ending_init(&failed);
    OK(fog_fog_submit(fog, (const uint8_t *)"no module", 9, NULL, 0, NULL, on_ended, &failed,
                      NULL));
    wait_for(&failed);
    CHECK(failed.status == FOG_STATUS_INVALID_MODULE);
    CHECK(failed.output_len == 0 && failed.message[0] != '\0');
    /* What is refused at once tells so itself. */
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_submit(fog, NULL, 0, NULL, 0, NULL, on_ended, &failed, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_fog_submit(fog, echo, echo_len, NULL, 0, NULL, NULL, NULL, NULL));
    OK(fog_fog_close(fog));
    FAILS(FOG_STATUS_CLOSED,
          fog_fog_submit(fog, echo, echo_len, NULL, 0, NULL, on_ended, &failed, NULL));
    fog_fog_free(fog);
    for (size_t i = 0; i < 8; i++) {
        CHECK(endings[i].calls == 1);
        ending_destroy(&endings[i]);
    }
    CHECK(failed.calls == 1);
    ending_destroy(&failed);
    free(echo);
}

static void test_a_task_can_be_cancelled(void) {
    fog_fog *fog = one_worker();
    size_t len;
    uint8_t *endless = endless_module(&len);
    fog_limits limits;
    OK(fog_limits_default(&limits));
    limits.fuel = 15000000000;
    struct ending ending;
    ending_init(&ending);
    fog_task *task = NULL;
    OK(fog_fog_submit(fog, endless, len, NULL, 0, &limits, on_ended, &ending, &task));
    fog_id id;
    OK(fog_task_id(task, &id));
    CHECK(strlen(id.text) == 32);
    OK(fog_task_cancel(task));
    wait_for(&ending);
    CHECK(ending.status == FOG_STATUS_CANCELLED);
    CHECK(ending.calls == 1);
    fog_fog_free(fog);
    OK(fog_task_cancel(task));
    fog_task_free(task);
    ending_destroy(&ending);
    free(endless);
}

static void test_freeing_a_fog_ends_its_tasks(void) {
    fog_fog *fog = one_worker();
    size_t len;
    uint8_t *endless = endless_module(&len);
    fog_limits limits;
    OK(fog_limits_default(&limits));
    limits.fuel = 15000000000;
    struct ending endings[3];
    for (size_t i = 0; i < 3; i++) {
        ending_init(&endings[i]);
        OK(fog_fog_submit(fog, endless, len, NULL, 0, &limits, on_ended, &endings[i], NULL));
    }
    fog_fog_free(fog);
    for (size_t i = 0; i < 3; i++) {
        CHECK(endings[i].calls == 1);
        CHECK(endings[i].status == FOG_STATUS_CLOSED ||
              endings[i].status == FOG_STATUS_CANCELLED);
        ending_destroy(&endings[i]);
    }
    free(endless);
}

/* Frees its fog, once the thread that submitted is done with it. */
static void on_ended_free(void *user_data, fog_status status, const fog_output *output,
                          const char *message) {
    struct ending *ending = user_data;
    (void)output, (void)message;
    pthread_mutex_lock(&ending->lock);
    fog_fog *fog = ending->fog;
    pthread_mutex_unlock(&ending->lock);
    fog_fog_free(fog);
    pthread_mutex_lock(&ending->lock);
    ending->status = status;
    ending->calls++;
    pthread_cond_signal(&ending->ended);
    pthread_mutex_unlock(&ending->lock);
}

static void test_a_callback_may_free_its_fog(void) {
    size_t len;
    uint8_t *echo = read_module("echo", &len);
    struct ending ending;
    ending_init(&ending);
    ending.fog = one_worker();
    pthread_mutex_lock(&ending.lock);
    OK(fog_fog_submit(ending.fog, echo, len, NULL, 0, NULL, on_ended_free, &ending, NULL));
    pthread_mutex_unlock(&ending.lock);
    wait_for(&ending);
    CHECK(ending.status == FOG_STATUS_OK);
    CHECK(ending.calls == 1);
    ending_destroy(&ending);
    free(echo);
}

/* ---- mixnet ------------------------------------------------------------------------------- */

/* Nothing here takes so long; it bounds how long a defect holds up the tests. */
static const uint64_t LONG_NS = 300000000000;

static fog_descriptor descriptor(size_t node) {
    fog_descriptor result = {.epoch = FOG_EPOCH_PARITY_EVEN, .address = "127.0.0.1:9000"};
    fog_hop hop;
    fog_private_key_free(key_and_hop(node, &hop));
    memcpy(result.node, NODES[node], sizeof result.node);
    memcpy(result.key, hop.key, sizeof result.key);
    return result;
}

static void test_a_topology_is_read_as_it_was_signed(void) {
    const fog_descriptor nodes[3] = {descriptor(0), descriptor(1), descriptor(2)};
    const fog_layer layers[2] = {{nodes, 1}, {nodes + 1, 2}};
    fog_topology_options options, read;
    OK(fog_topology_options_default(&options));
    CHECK(options.hops_max == FOG_SPHINX_HOPS);
    CHECK(options.payload_bytes == FOG_SPHINX_PAYLOAD_BYTES);
    options.epoch = 42;
    options.hops_max = 5;
    options.payload_bytes = 1024;
    options.delay_mean_ns = 7000000;
    fog_topology *made = NULL, *verified = NULL, *none = NULL;
    OK(fog_topology_new(layers, 2, &options, &made));

    uint8_t secret[FOG_KEY_BYTES] = {7}, authority[FOG_KEY_BYTES];
    OK(fog_topology_authority(secret, sizeof secret, authority, sizeof authority));
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL, fog_topology_authority(secret, 32, authority, 31));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_authority(secret, 31, authority, 32));
    char *text = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_sign(made, secret, 33, &text));
    OK(fog_topology_sign(made, secret, sizeof secret, &text));
    OK(fog_topology_verify(text, authority, sizeof authority, &verified));
    OK(fog_topology_options_of(verified, &read));
    CHECK(read.epoch == 42 && read.hops_max == 5 && read.payload_bytes == 1024);
    CHECK(read.delay_mean_ns == 7000000 && read.valid_until_ms == options.valid_until_ms);
    CHECK(fog_topology_layer_count(verified) == 2);
    CHECK(fog_topology_node_count(verified, 0) == 1);
    CHECK(fog_topology_node_count(verified, 1) == 2);
    CHECK(fog_topology_node_count(verified, 2) == 0);
    fog_descriptor node;
    OK(fog_topology_node(verified, 1, 1, &node));
    CHECK(strcmp(node.node, NODES[2]) == 0 && strcmp(node.address, nodes[2].address) == 0);
    CHECK(memcmp(node.key, nodes[2].key, sizeof node.key) == 0);
    CHECK(node.epoch == FOG_EPOCH_PARITY_EVEN);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_node(verified, 0, 1, &node));
    fog_sphinx *sphinx = NULL;
    OK(fog_topology_sphinx(verified, &sphinx));
    CHECK(fog_sphinx_hops_max(sphinx) == 5 && fog_sphinx_payload_bytes(sphinx) == 1024);
    fog_sphinx_free(sphinx);

    char *number = strstr(text, "42");
    CHECK(number != NULL);
    if (number != NULL) {
        number[1] = '4';
    }
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_topology_verify(text, authority, 32, &none));
    fog_string_free(text);
    OK(fog_topology_sign(made, secret, sizeof secret, &text));
    authority[0] ^= 1;
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_topology_verify(text, authority, 32, &none));
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_topology_verify("", authority, 32, &none));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_verify(text, authority, 0, &none));
    fog_string_free(text);
    fog_topology_free(made);
    fog_topology_free(verified);

    /* Signed well, but no longer valid. */
    options.valid_until_ms = 1000;
    OK(fog_topology_new(layers, 2, &options, &made));
    OK(fog_topology_sign(made, secret, sizeof secret, &text));
    authority[0] ^= 1;
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_topology_verify(text, authority, 32, &none));
    fog_string_free(text);
    fog_mixnet_client *client = NULL;
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_mixnet_client_start(made, NULL, &client));
    fog_topology_free(made);
    CHECK(none == NULL && client == NULL);
}

static void test_what_makes_no_topology_is_refused(void) {
    fog_descriptor nodes[2] = {descriptor(0), descriptor(1)};
    fog_layer layers[2] = {{nodes, 1}, {nodes + 1, 1}};
    fog_topology *none = NULL;
    fog_topology_options options;
    OK(fog_topology_options_default(&options));
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_topology_new(NULL, 0, NULL, &none));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_new(NULL, 1, NULL, &none));
    layers[1].nodes_len = 0;
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_topology_new(layers, 2, NULL, &none));
    layers[1] = (fog_layer){nodes, 1};
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_topology_new(layers, 2, NULL, &none));
    layers[1] = (fog_layer){NULL, 1};
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_new(layers, 2, NULL, &none));
    options.hops_max = 8;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_new(layers, 1, &options, &none));
    nodes[0].epoch = 2;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_new(layers, 1, NULL, &none));
    nodes[0] = descriptor(0);
    memset(nodes[0].node, '1', sizeof nodes[0].node);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_new(layers, 1, NULL, &none));
    nodes[0] = descriptor(0);
    memcpy(nodes[0].address, "nowhere", 8);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_topology_new(layers, 1, NULL, &none));
    CHECK(strstr(fog_last_error_message(), "address") != NULL);
    CHECK(none == NULL);
}

/* Three mixnodes in three layers, and two clients without cover. */
struct mixnet {
    fog_mixnet_node *nodes[3];
    fog_topology *topology;
    fog_mixnet_client *alice, *bob;
    fog_contact to_alice, to_bob;
};

static fog_mixnet_client_config quiet_config(void) {
    fog_mixnet_client_config config;
    OK(fog_mixnet_client_config_default(&config));
    CHECK(config.cover_loops_ns == 5000000000 && config.cover_drops_ns == 5000000000);
    config.cover_loops_ns = config.cover_drops_ns = 0;
    return config;
}

static fog_mixnet_client *quiet_client(const fog_topology *topology, fog_contact *contact) {
    const fog_mixnet_client_config config = quiet_config();
    fog_mixnet_client *client = NULL;
    OK(fog_mixnet_client_start(topology, &config, &client));
    OK(fog_mixnet_client_contact(client, contact));
    return client;
}

static struct mixnet start_mixnet(void) {
    struct mixnet mixnet = {0};
    fog_descriptor nodes[3];
    fog_layer layers[3];
    for (size_t i = 0; i < 3; i++) {
        OK(fog_mixnet_node_start(NULL, &mixnet.nodes[i]));
        OK(fog_mixnet_node_descriptor(mixnet.nodes[i], &nodes[i]));
        layers[i] = (fog_layer){&nodes[i], 1};
    }
    fog_topology_options options;
    OK(fog_topology_options_default(&options));
    options.delay_mean_ns = 1000000;
    OK(fog_topology_new(layers, 3, &options, &mixnet.topology));
    for (size_t i = 0; i < 3; i++) {
        OK(fog_mixnet_node_set_topology(mixnet.nodes[i], mixnet.topology));
    }
    mixnet.alice = quiet_client(mixnet.topology, &mixnet.to_alice);
    mixnet.bob = quiet_client(mixnet.topology, &mixnet.to_bob);
    return mixnet;
}

static void end_mixnet(struct mixnet *mixnet) {
    fog_mixnet_client_free(mixnet->alice);
    fog_mixnet_client_free(mixnet->bob);
    for (size_t i = 0; i < 3; i++) {
        fog_mixnet_node_free(mixnet->nodes[i]);
    }
    fog_topology_free(mixnet->topology);
}

static fog_mixnet_message *receive(const fog_mixnet_client *client) {
    fog_mixnet_message *message = NULL;
    OK(fog_mixnet_client_receive(client, LONG_NS, &message));
    CHECK(message != NULL);
    return message;
}

static bool says(const fog_mixnet_message *message, const char *text) {
    size_t len = strlen(text);
    return fog_mixnet_message_len(message) == len &&
           memcmp(fog_mixnet_message_data(message), text, len) == 0;
}

static void on_answered(void *user_data, fog_status status, const fog_mixnet_answer *answer,
                        const char *message) {
    struct ending *ending = user_data;
    pthread_mutex_lock(&ending->lock);
    ending->calls++;
    ending->status = status;
    ending->output_len = fog_mixnet_answer_len(answer);
    if (answer != NULL && ending->output_len <= sizeof ending->output) {
        memcpy(ending->output, fog_mixnet_answer_data(answer), ending->output_len);
    }
    snprintf(ending->message, sizeof ending->message, "%s", message);
    pthread_cond_signal(&ending->ended);
    pthread_mutex_unlock(&ending->lock);
}

static void on_sent(void *user_data, fog_status status, const char *message) {
    on_answered(user_data, status, NULL, message);
}

/* Receives one message, and answers it with its own bytes. */
static void *echo(void *user_data) {
    const fog_mixnet_client *client = user_data;
    fog_mixnet_message *message = receive(client);
    OK(fog_mixnet_client_reply(client, message, fog_mixnet_message_data(message),
                               fog_mixnet_message_len(message)));
    fog_mixnet_message_free(message);
    return NULL;
}

static void test_a_message_and_its_answer_cross_the_mixnet(void) {
    struct mixnet mixnet = start_mixnet();
    const uint8_t *hello = (const uint8_t *)"hello";
    fog_mixnet_message *message = NULL;
    OK(fog_mixnet_client_receive(mixnet.bob, 0, &message));
    CHECK(message == NULL);
    fog_id sent, received;
    bool delivered = false;
    OK(fog_mixnet_client_send(mixnet.alice, mixnet.to_bob.text, hello, 5, LONG_NS, &sent,
                              &delivered));
    CHECK(delivered);
    message = receive(mixnet.bob);
    OK(fog_mixnet_message_id(message, &received));
    CHECK(strcmp(sent.text, received.text) == 0 && strlen(sent.text) == 32);
    CHECK(says(message, "hello") && fog_mixnet_message_reply_blocks(message) == 0);
    FAILS(FOG_STATUS_INVALID_REPLY_BLOCK,
          fog_mixnet_client_reply(mixnet.bob, message, NULL, 0));
    fog_mixnet_message_free(message);

    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, echo, mixnet.bob) == 0);
    size_t len = 20000;
    uint8_t *body = must(malloc(len));
    for (size_t i = 0; i < len; i++) {
        body[i] = (uint8_t)(i * 31);
    }
    fog_mixnet_answer *answer = NULL;
    OK(fog_mixnet_client_request(mixnet.alice, mixnet.to_bob.text, body, len, len, LONG_NS,
                                 &answer));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(fog_mixnet_answer_len(answer) == len);
    CHECK(answer != NULL && memcmp(fog_mixnet_answer_data(answer), body, len) == 0);
    fog_mixnet_answer_free(answer);
    free(body);

    /* Not waited for: it arrives all the same. */
    OK(fog_mixnet_client_send(mixnet.bob, mixnet.to_alice.text, NULL, 0, 0, NULL, &delivered));
    CHECK(!delivered);
    message = receive(mixnet.alice);
    CHECK(says(message, ""));
    fog_mixnet_message_free(message);
    FAILS(FOG_STATUS_NO_ANSWER,
          fog_mixnet_client_request(mixnet.alice, mixnet.to_bob.text, hello, 5, 1, 1, &answer));

    fog_client_stats stats;
    OK(fog_mixnet_client_stats(mixnet.alice, &stats));
    CHECK(stats.sent == 3 && stats.answers == 1 && stats.received == 1 && stats.given_up == 0);
    CHECK(stats.cover.loops_sent == 0 && stats.engine.datagrams > 0);
    fog_engine_stats node;
    OK(fog_mixnet_node_stats(mixnet.nodes[1], &node));
    CHECK(node.mix.forwarded > 10 && node.mix.malformed == 0);
    end_mixnet(&mixnet);
}

static void test_a_message_is_answered_once(void) {
    struct mixnet mixnet = start_mixnet();
    struct ending ending;
    ending_init(&ending);
    OK(fog_mixnet_client_request_async(mixnet.alice, mixnet.to_bob.text, NULL, 0, 64, LONG_NS,
                                       on_answered, &ending));
    fog_mixnet_message *message = receive(mixnet.bob);
    CHECK(fog_mixnet_message_reply_blocks(message) == 1);
    uint8_t *too_long = must(calloc(1, 4096));
    FAILS(FOG_STATUS_PAYLOAD_TOO_LARGE,
          fog_mixnet_client_reply(mixnet.bob, message, too_long, 4096));
    free(too_long);
    OK(fog_mixnet_client_reply(mixnet.bob, message, (const uint8_t *)"yes", 3));
    FAILS(FOG_STATUS_INVALID_REPLY_BLOCK,
          fog_mixnet_client_reply(mixnet.bob, message, (const uint8_t *)"yes", 3));
    fog_mixnet_message_free(message);
    wait_for(&ending);
    CHECK(ending.status == FOG_STATUS_OK && ending.message[0] == '\0');
    CHECK(ending.output_len == 3 && memcmp(ending.output, "yes", 3) == 0);
    ending_destroy(&ending);

    ending_init(&ending);
    fog_id id;
    OK(fog_mixnet_client_send_async(mixnet.bob, mixnet.to_alice.text, (const uint8_t *)"a", 1,
                                    on_sent, &ending, &id));
    CHECK(strlen(id.text) == 32);
    OK(fog_mixnet_client_send_async(mixnet.bob, mixnet.to_alice.text, (const uint8_t *)"b", 1,
                                    NULL, NULL, NULL));
    wait_for(&ending);
    CHECK(ending.status == FOG_STATUS_OK);
    bool seen[2] = {false, false};
    for (size_t i = 0; i < 2; i++) {
        message = receive(mixnet.alice);
        seen[0] |= says(message, "a");
        seen[1] |= says(message, "b");
        fog_mixnet_message_free(message);
    }
    CHECK(seen[0] && seen[1]);
    CHECK(ending.calls == 1);
    ending_destroy(&ending);
    end_mixnet(&mixnet);
}

static const uint8_t STORE_KEY[FOG_KEY_BYTES] = {7};

/* Suspends a client, and puts one into its place that goes on. */
static void start_again(const struct mixnet *mixnet, fog_mixnet_client **client) {
    const fog_mixnet_client_config config = quiet_config();
    fog_mixnet_state *state = NULL;
    OK(fog_mixnet_client_suspend(*client, STORE_KEY, sizeof STORE_KEY, &state));
    FAILS(FOG_STATUS_CLOSED,
          fog_mixnet_client_suspend(*client, STORE_KEY, sizeof STORE_KEY, &state));
    fog_mixnet_client_free(*client);
    OK(fog_mixnet_client_restore(mixnet->topology, &config, fog_mixnet_state_data(state),
                                 fog_mixnet_state_len(state), STORE_KEY, sizeof STORE_KEY,
                                 client));
    fog_mixnet_state_free(state);
}

static void test_a_client_started_again_answers_and_is_answered(void) {
    struct mixnet mixnet = start_mixnet();
    struct ending endings[2];
    fog_id ids[2];
    for (size_t i = 0; i < 2; i++) {
        ending_init(&endings[i]);
        OK(fog_mixnet_client_request_async(mixnet.alice, mixnet.to_bob.text, NULL, 0, 64, LONG_NS,
                                           on_answered, &endings[i]));
    }
    /* Its reply blocks are kept as long as somebody holds them. */
    fog_mixnet_message *questions[2];
    for (size_t i = 0; i < 2; i++) {
        questions[i] = receive(mixnet.bob);
        OK(fog_mixnet_message_id(questions[i], &ids[i]));
    }
    start_again(&mixnet, &mixnet.alice);
    start_again(&mixnet, &mixnet.bob);
    for (size_t i = 0; i < 2; i++) {
        CHECK(endings[i].status == FOG_STATUS_CLOSED && endings[i].calls == 1);
        ending_destroy(&endings[i]);
        FAILS(FOG_STATUS_INVALID_REPLY_BLOCK,
              fog_mixnet_client_reply(mixnet.bob, questions[i], NULL, 0));
        fog_mixnet_message_free(questions[i]);
    }
    fog_contact contact;
    OK(fog_mixnet_client_contact(mixnet.bob, &contact));
    CHECK(strcmp(contact.text, mixnet.to_bob.text) == 0);

    fog_id left[2];
    size_t len = 0;
    FAILS(FOG_STATUS_BUFFER_TOO_SMALL,
          fog_mixnet_client_restored_messages(mixnet.bob, NULL, 0, &len));
    CHECK(len == 2);
    OK(fog_mixnet_client_restored_messages(mixnet.bob, left, len, &len));
    CHECK(len == 2 && strlen(left[0].text) == 32);
    CHECK(strcmp(left[0].text, ids[0].text) == 0 || strcmp(left[0].text, ids[1].text) == 0);
    OK(fog_mixnet_client_restored_requests(mixnet.bob, NULL, 0, &len));
    CHECK(len == 0);
    OK(fog_mixnet_client_restored_requests(mixnet.alice, left, 2, &len));
    CHECK(len == 2);

    /* Its acknowledgement comes over the last layer, which then knows where alice is now. */
    bool delivered = false;
    OK(fog_mixnet_client_send(mixnet.alice, mixnet.to_bob.text, NULL, 0, LONG_NS, NULL,
                              &delivered));
    CHECK(delivered);
    fog_mixnet_message_free(receive(mixnet.bob));
    for (size_t i = 0; i < 2; i++) {
        const uint8_t body = (uint8_t)i;
        fog_reply_blocks *blocks = NULL, *again = NULL;
        OK(fog_mixnet_client_reply_blocks(mixnet.bob, ids[i].text, &blocks));
        CHECK(fog_reply_blocks_count(blocks) == 1);
        OK(fog_mixnet_client_reply_blocks(mixnet.bob, ids[i].text, &again));
        CHECK(again == NULL);
        uint8_t *too_long = must(calloc(1, 4096));
        FAILS(FOG_STATUS_PAYLOAD_TOO_LARGE,
              fog_mixnet_client_reply_with(mixnet.bob, blocks, too_long, 4096));
        free(too_long);
        OK(fog_mixnet_client_reply_with(mixnet.bob, blocks, &body, 1));
        FAILS(FOG_STATUS_INVALID_REPLY_BLOCK,
              fog_mixnet_client_reply_with(mixnet.bob, blocks, &body, 1));
        fog_reply_blocks_free(blocks);
    }

    fog_mixnet_answer *answer = NULL;
    OK(fog_mixnet_client_answer_to(mixnet.alice, ids[0].text, LONG_NS, &answer));
    CHECK(fog_mixnet_answer_len(answer) == 1 && fog_mixnet_answer_data(answer)[0] == 0);
    fog_mixnet_answer_free(answer);
    struct ending ending;
    ending_init(&ending);
    OK(fog_mixnet_client_answer_to_async(mixnet.alice, ids[1].text, LONG_NS, on_answered,
                                         &ending));
    wait_for(&ending);
    CHECK(ending.status == FOG_STATUS_OK && ending.output_len == 1 && ending.output[0] == 1);
    ending_destroy(&ending);
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_answer_to(mixnet.alice, ids[0].text, LONG_NS, &answer));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_answer_to_async(
                                           mixnet.alice, "none", LONG_NS, on_answered, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_answer_to_async(mixnet.alice, ids[0].text, LONG_NS, NULL, NULL));
    OK(fog_mixnet_client_restored_requests(mixnet.alice, NULL, 0, &len));
    CHECK(len == 0);
    end_mixnet(&mixnet);
}

static void test_a_state_that_does_not_open_is_refused(void) {
    struct mixnet mixnet = start_mixnet();
    fog_mixnet_state *state = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_suspend(mixnet.alice, STORE_KEY, 31, &state));
    OK(fog_mixnet_client_suspend(mixnet.alice, STORE_KEY, sizeof STORE_KEY, &state));
    const size_t len = fog_mixnet_state_len(state);
    uint8_t *bytes = must(malloc(len));
    memcpy(bytes, fog_mixnet_state_data(state), len);
    fog_mixnet_state_free(state);

    fog_mixnet_client_config config = quiet_config();
    fog_mixnet_client *none = NULL;
    const uint8_t other[FOG_KEY_BYTES] = {8};
#define RESTORE(len, key, key_len) \
    fog_mixnet_client_restore(mixnet.topology, &config, bytes, len, key, key_len, &none)
    FAILS(FOG_STATUS_INVALID_ARGUMENT, RESTORE(len, STORE_KEY, 31));
    FAILS(FOG_STATUS_STORAGE_CORRUPT, RESTORE(len, other, sizeof other));
    FAILS(FOG_STATUS_STORAGE_CORRUPT, RESTORE(len - 1, STORE_KEY, sizeof STORE_KEY));
    FAILS(FOG_STATUS_STORAGE_CORRUPT, RESTORE(0, STORE_KEY, sizeof STORE_KEY));
    bytes[len / 2] ^= 1;
    FAILS(FOG_STATUS_STORAGE_CORRUPT, RESTORE(len, STORE_KEY, sizeof STORE_KEY));
    bytes[len / 2] ^= 1;
    config.identity = other;
    config.identity_len = sizeof other;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, RESTORE(len, STORE_KEY, sizeof STORE_KEY));
    CHECK(strstr(fog_last_error_message(), "identity") != NULL && none == NULL);
    config.identity_len = 0;
    OK(RESTORE(len, STORE_KEY, sizeof STORE_KEY));
#undef RESTORE
    fog_contact contact;
    OK(fog_mixnet_client_contact(none, &contact));
    CHECK(strcmp(contact.text, mixnet.to_alice.text) == 0);
    fog_mixnet_client_free(none);
    free(bytes);
    end_mixnet(&mixnet);
}

static void test_a_chosen_route_is_taken(void) {
    struct mixnet mixnet = start_mixnet();
    fog_node_id nodes[4];
    OK(fog_mixnet_client_choose_nodes(mixnet.alice, 3, nodes));
    for (size_t i = 0; i < 3; i++) {
        fog_descriptor node;
        OK(fog_mixnet_node_descriptor(mixnet.nodes[i], &node));
        CHECK(strcmp(nodes[i].text, node.node) == 0);
    }
    FAILS(FOG_STATUS_INVALID_ROUTE, fog_mixnet_client_choose_nodes(mixnet.alice, 4, nodes));
    FAILS(FOG_STATUS_INVALID_ROUTE, fog_mixnet_client_choose_nodes(mixnet.alice, 0, nodes));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_choose_nodes(mixnet.alice, 3, NULL));
    fog_id id;
    OK(fog_mixnet_client_send_through(mixnet.alice, nodes, 3, mixnet.to_bob.text,
                                      (const uint8_t *)"this way", 8, &id));
    fog_mixnet_message *message = receive(mixnet.bob);
    CHECK(says(message, "this way"));
    fog_mixnet_message_free(message);
    nodes[1] = nodes[0];
    FAILS(FOG_STATUS_INVALID_ROUTE,
          fog_mixnet_client_send_through(mixnet.alice, nodes, 2, mixnet.to_bob.text, NULL, 0, &id));
    memset(nodes[1].text, '9', 64);
    FAILS(FOG_STATUS_INVALID_ROUTE,
          fog_mixnet_client_send_through(mixnet.alice, nodes, 2, mixnet.to_bob.text, NULL, 0, &id));
    nodes[1].text[63] = '\0';
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_send_through(mixnet.alice, nodes, 2, mixnet.to_bob.text, NULL, 0, &id));
    end_mixnet(&mixnet);
}

static void test_what_a_mixnet_cannot_do_is_refused_by_name(void) {
    struct mixnet mixnet = start_mixnet();
    fog_mixnet_node_config config;
    OK(fog_mixnet_node_config_default(&config));
    fog_mixnet_node *node = NULL;
    fog_descriptor taken;
    OK(fog_mixnet_node_descriptor(mixnet.nodes[0], &taken));
    config.listen = taken.address;
    FAILS(FOG_STATUS_LISTEN, fog_mixnet_node_start(&config, &node));
    config.listen = "somewhere";
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_node_start(&config, &node));
    config.listen = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_node_start(&config, &node));
    config.listen = "127.0.0.1:0";
    const uint8_t identity[FOG_KEY_BYTES] = {9};
    config.identity = identity;
    config.identity_len = 31;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_node_start(&config, &node));
    config.identity_len = 32;
    config.payload_bytes = 1;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_node_start(&config, &node));
    CHECK(node == NULL);
    config.payload_bytes = 1024;
    config.epoch = 1;
    config.address = "192.0.2.1:4000";
    OK(fog_mixnet_node_start(&config, &node));
    fog_descriptor odd;
    OK(fog_mixnet_node_descriptor(node, &odd));
    CHECK(odd.epoch == FOG_EPOCH_PARITY_ODD && strcmp(odd.address, config.address) == 0);
    FAILS(FOG_STATUS_INVALID_TOPOLOGY, fog_mixnet_node_set_topology(node, mixnet.topology));
    fog_mixnet_node_free(node);

    fog_mixnet_client *none = NULL;
    fog_mixnet_client_config client_config;
    OK(fog_mixnet_client_config_default(&client_config));
    client_config.listen = taken.address;
    FAILS(FOG_STATUS_LISTEN, fog_mixnet_client_start(mixnet.topology, &client_config, &none));
    client_config.listen = "127.0.0.1";
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_start(mixnet.topology, &client_config, &none));
    CHECK(none == NULL);

    fog_client_stats stats;
    const fog_mixnet_client *alice = mixnet.alice;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_send(alice, "nobody", NULL, 0, 0, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_send(alice, NULL, NULL, 0, 0, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_send(alice, mixnet.to_bob.text, NULL, 1, 0, NULL, NULL));
    char other_epoch[FOG_CONTACT_SIZE];
    memcpy(other_epoch, mixnet.to_bob.text, sizeof other_epoch);
    memcpy(strrchr(other_epoch, ':'), ":odd", 5);
    FAILS(FOG_STATUS_INVALID_ROUTE, fog_mixnet_client_send(alice, other_epoch, NULL, 0, 0, NULL,
                                                           NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mixnet_client_request_async(alice, mixnet.to_bob.text, NULL, 0, 1, 1, NULL, NULL));
    size_t large_len = 64u << 20;
    uint8_t *large = must(calloc(1, large_len));
    FAILS(FOG_STATUS_PAYLOAD_TOO_LARGE, fog_mixnet_client_send(alice, mixnet.to_bob.text, large,
                                                               large_len, 0, NULL, NULL));
    free(large);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mixnet_client_set_power(alice, 3));
    OK(fog_mixnet_client_set_power(alice, FOG_POWER_CLASS_LOW_BATTERY));
    OK(fog_mixnet_client_stats(alice, &stats));
    CHECK(stats.sent == 0);
    end_mixnet(&mixnet);
}

/* Waits for a message that never comes. */
static void *receive_until_closed(void *user_data) {
    fog_mixnet_message *message = NULL;
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_receive(user_data, LONG_NS, &message));
    return NULL;
}

static void test_closing_ends_what_is_waited_for(void) {
    struct mixnet mixnet = start_mixnet();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, receive_until_closed, mixnet.alice) == 0);
    struct ending endings[2];
    for (size_t i = 0; i < 2; i++) {
        ending_init(&endings[i]);
        OK(fog_mixnet_client_request_async(mixnet.alice, mixnet.to_bob.text, NULL, 0, 1, LONG_NS,
                                           on_answered, &endings[i]));
    }
    fog_mixnet_message *message = receive(mixnet.bob);
    OK(fog_mixnet_client_close(mixnet.alice));
    OK(fog_mixnet_client_close(mixnet.alice));
    CHECK(pthread_join(thread, NULL) == 0);
    for (size_t i = 0; i < 2; i++) {
        wait_for(&endings[i]);
        CHECK(endings[i].status == FOG_STATUS_CLOSED && endings[i].message[0] != '\0');
        CHECK(endings[i].calls == 1);
        ending_destroy(&endings[i]);
    }
    fog_contact contact;
    fog_client_stats stats;
    fog_node_id node;
    fog_mixnet_answer *answer = NULL;
    const fog_mixnet_client *alice = mixnet.alice;
    const char *to = mixnet.to_bob.text;
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_contact(alice, &contact));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_stats(alice, &stats));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_send(alice, to, NULL, 0, 1, NULL, NULL));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_send_async(alice, to, NULL, 0, on_sent, NULL, NULL));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_request(alice, to, NULL, 0, 1, 1, &answer));
    FAILS(FOG_STATUS_CLOSED,
          fog_mixnet_client_request_async(alice, to, NULL, 0, 1, 1, on_answered, NULL));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_choose_nodes(alice, 1, &node));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_set_topology(alice, mixnet.topology));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_set_power(alice, FOG_POWER_CLASS_MAINS));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_reply(alice, message, NULL, 0));
    fog_mixnet_message_free(message);
    fog_reply_blocks *blocks = NULL;
    size_t len = 0;
    const char *id = "00000000000000000000000000000000";
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_restored_messages(alice, NULL, 0, &len));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_reply_blocks(alice, id, &blocks));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_answer_to(alice, id, 1, &answer));
    FAILS(FOG_STATUS_CLOSED,
          fog_mixnet_client_answer_to_async(alice, id, 1, on_answered, NULL));

    fog_engine_stats counted;
    OK(fog_mixnet_node_drain(mixnet.nodes[0], LONG_NS, &counted));
    CHECK(counted.mix.received > 0);
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_node_drain(mixnet.nodes[0], 0, NULL));
    OK(fog_mixnet_node_close(mixnet.nodes[1]));
    OK(fog_mixnet_node_close(mixnet.nodes[1]));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_node_stats(mixnet.nodes[1], &counted));
    FAILS(FOG_STATUS_CLOSED, fog_mixnet_node_set_topology(mixnet.nodes[1], mixnet.topology));
    end_mixnet(&mixnet);
}

/* Frees its client, once the thread that asked is done with it. */
static void on_answered_free(void *user_data, fog_status status, const fog_mixnet_answer *answer,
                             const char *message) {
    struct ending *ending = user_data;
    pthread_mutex_lock(&ending->lock);
    fog_mixnet_client *client = ending->client;
    pthread_mutex_unlock(&ending->lock);
    fog_mixnet_client_free(client);
    on_answered(user_data, status, answer, message);
}

static void test_freeing_a_client_runs_its_callbacks_and_a_callback_may_free_it(void) {
    struct mixnet mixnet = start_mixnet();
    struct ending ending, freed;
    ending_init(&ending);
    OK(fog_mixnet_client_request_async(mixnet.alice, mixnet.to_bob.text, NULL, 0, 1, LONG_NS,
                                       on_answered, &ending));
    fog_mixnet_client_free(mixnet.alice);
    mixnet.alice = NULL;
    CHECK(ending.calls == 1 && ending.status == FOG_STATUS_CLOSED);
    ending_destroy(&ending);

    ending_init(&freed);
    fog_contact contact;
    fog_mixnet_client *client = quiet_client(mixnet.topology, &contact);
    freed.client = client;
    pthread_mutex_lock(&freed.lock);
    OK(fog_mixnet_client_request_async(client, mixnet.to_bob.text, NULL, 0, 1, 1, on_answered_free,
                                       &freed));
    pthread_mutex_unlock(&freed.lock);
    wait_for(&freed);
    CHECK(freed.status == FOG_STATUS_NO_ANSWER && freed.calls == 1);
    ending_destroy(&freed);
    end_mixnet(&mixnet);
}

static void test_a_new_epoch_brings_a_new_contact(void) {
    struct mixnet old = start_mixnet();
    fog_mixnet_node_config config;
    OK(fog_mixnet_node_config_default(&config));
    config.epoch = 1;
    fog_mixnet_node *node = NULL;
    OK(fog_mixnet_node_start(&config, &node));
    fog_descriptor odd;
    OK(fog_mixnet_node_descriptor(node, &odd));
    const fog_layer layer = {&odd, 1};
    fog_topology_options options;
    OK(fog_topology_options_default(&options));
    options.epoch = 1;
    options.delay_mean_ns = 1000000;
    fog_topology *next = NULL;
    OK(fog_topology_new(&layer, 1, &options, &next));
    OK(fog_mixnet_node_set_topology(node, next));
    OK(fog_mixnet_client_set_topology(old.alice, next));
    OK(fog_mixnet_client_set_topology(old.bob, next));
    fog_contact contact;
    OK(fog_mixnet_client_contact(old.bob, &contact));
    CHECK(strcmp(contact.text, old.to_bob.text) != 0);
    CHECK(strncmp(contact.text, old.to_bob.text, 64) == 0);
    bool delivered = false;
    OK(fog_mixnet_client_send(old.alice, contact.text, (const uint8_t *)"x", 1, LONG_NS, NULL,
                              &delivered));
    CHECK(delivered);
    fog_topology_free(next);
    end_mixnet(&old);
    fog_mixnet_node_free(node);
}

static void test_a_forked_child_cannot_use_its_parents_mixnet(void) {
    struct mixnet mixnet = start_mixnet();
    struct ending ending;
    ending_init(&ending);
    OK(fog_mixnet_client_request_async(mixnet.alice, mixnet.to_bob.text, NULL, 0, 1, LONG_NS,
                                       on_answered, &ending));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        fog_contact contact;
        fog_engine_stats counted;
        fog_mixnet_message *message = NULL;
        FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_contact(mixnet.alice, &contact));
        FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_receive(mixnet.alice, LONG_NS, &message));
        FAILS(FOG_STATUS_CLOSED, fog_mixnet_client_send_async(mixnet.alice, mixnet.to_bob.text,
                                                              NULL, 0, on_sent, &ending, NULL));
        FAILS(FOG_STATUS_CLOSED, fog_mixnet_node_stats(mixnet.nodes[0], &counted));
        fog_mixnet_state *state = NULL;
        FAILS(FOG_STATUS_CLOSED,
              fog_mixnet_client_suspend(mixnet.alice, STORE_KEY, sizeof STORE_KEY, &state));
        OK(fog_mixnet_client_close(mixnet.alice));
        end_mixnet(&mixnet);
        CHECK(ending.calls == 0);
        fflush(stdout);
        if (failures == 0) {
            /* What it left to its parent is a leak to those who look for leaks at an exit. */
            execlp("true", "true", (char *)NULL);
        }
        _exit(1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    fog_mixnet_message *message = receive(mixnet.bob);
    OK(fog_mixnet_client_reply(mixnet.bob, message, NULL, 0));
    fog_mixnet_message_free(message);
    wait_for(&ending);
    CHECK(ending.status == FOG_STATUS_OK && ending.output_len == 0);
    ending_destroy(&ending);
    end_mixnet(&mixnet);
}

/* ---- a mesh --------------------------------------------------------------------------------- */

/* An event while it is looked at. */
struct happened {
    fog_mesh_event *event;
    fog_mesh_event_parts parts;
};

/* The next event of this kind, of which all others before are dropped. Free it. */
static struct happened until(const fog_mesh_node *node, fog_mesh_kind kind) {
    struct happened happened = {0};
    do {
        fog_mesh_event_free(happened.event);
        happened.event = NULL;
        OK(fog_mesh_node_receive(node, LONG_NS, &happened.event));
        if (happened.event == NULL) {
            fprintf(stderr, "an event of kind %d did not come\n", (int)kind);
            exit(2);
        }
        OK(fog_mesh_event_read(happened.event, &happened.parts));
    } while (happened.parts.kind != (int32_t)kind);
    return happened;
}

static void skip(const fog_mesh_node *node, fog_mesh_kind kind) {
    fog_mesh_event_free(until(node, kind).event);
}

static void reached(const fog_mesh_node *node, const char *id, fog_delivery_state state) {
    bool is_there = false;
    while (!is_there && failures == 0) {
        struct happened told = until(node, FOG_MESH_KIND_DELIVERY);
        is_there = strcmp(told.parts.id, id) == 0 && told.parts.state == (int32_t)state;
        fog_mesh_event_free(told.event);
    }
}

struct two {
    fog_mesh_node *alice, *bob;
    fog_peer_id alice_id, bob_id;
};

static struct two start_two(void) {
    struct two two = {0};
    OK(fog_mesh_node_start("alice", NULL, &two.alice));
    OK(fog_mesh_node_start("bob", NULL, &two.bob));
    OK(fog_mesh_node_id(two.alice, &two.alice_id));
    OK(fog_mesh_node_id(two.bob, &two.bob_id));
    return two;
}

static void join(const struct two *two) {
    skip(two->alice, FOG_MESH_KIND_PEER_JOINED);
    skip(two->bob, FOG_MESH_KIND_PEER_JOINED);
}

static void end_two(struct two *two) {
    fog_mesh_node_free(two->alice);
    fog_mesh_node_free(two->bob);
}

static void test_nodes_of_a_mesh_talk_over_tcp_and_go_on_after_a_restart(void) {
    char folder[] = "/tmp/fogcompute-mesh-XXXXXX", file[64];
    if (mkdtemp(folder) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    snprintf(file, sizeof file, "%s/alice", folder);
    struct two two = {0};
    fog_mesh_node_config config;
    OK(fog_mesh_node_config_default(&config));
    CHECK(config.file == NULL && config.events_max == 4096 && config.fog_key == NULL);
    CHECK(config.fog_period_ms == 900000);
    config.file = file;
    OK(fog_mesh_node_start("alice", &config, &two.alice));
    OK(fog_mesh_node_start("bob", NULL, &two.bob));
    OK(fog_mesh_node_id(two.alice, &two.alice_id));
    OK(fog_mesh_node_id(two.bob, &two.bob_id));
    fog_address address;
    OK(fog_mesh_node_listen(two.bob, "127.0.0.1:0", &address));
    FAILS(FOG_STATUS_LISTEN, fog_mesh_node_listen(two.alice, address.text, NULL));
    OK(fog_mesh_node_connect(two.alice, address.text));
    join(&two);

    fog_mesh_peers *peers = NULL;
    fog_mesh_peer peer;
    OK(fog_mesh_node_peers(two.alice, &peers));
    CHECK(fog_mesh_peers_count(peers) == 1);
    OK(fog_mesh_peers_read(peers, 0, &peer));
    CHECK(strcmp(peer.id.text, two.bob_id.text) == 0 && strcmp(peer.nickname, "bob") == 0);
    CHECK(peer.is_linked && peer.is_reachable);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_peers_read(peers, 1, &peer));
    fog_mesh_peers_free(peers);

    char *sent = NULL;
    OK(fog_mesh_node_send_private(two.alice, two.bob_id.text, "hello", &sent));
    struct happened came = until(two.bob, FOG_MESH_KIND_PRIVATE);
    CHECK(strcmp(came.parts.id, sent) == 0 && strcmp(came.parts.text, "hello") == 0);
    CHECK(strcmp(came.parts.peer, two.alice_id.text) == 0 && came.parts.is_private);
    CHECK(strcmp(came.parts.via, two.alice_id.text) == 0 && came.parts.hops == 1);
    CHECK(came.parts.protection != FOG_PROTECTION_UNKNOWN);
    CHECK(came.parts.group == NULL && came.parts.content == NULL);
    fog_mesh_event_free(came.event);
    came = until(two.alice, FOG_MESH_KIND_PASSED);
    CHECK(strcmp(came.parts.id, sent) == 0 && strcmp(came.parts.peer, two.bob_id.text) == 0);
    CHECK(came.parts.passing == FOG_PASSING_GIVEN);
    fog_mesh_event_free(came.event);
    reached(two.alice, sent, FOG_DELIVERY_STATE_DELIVERED);
    OK(fog_mesh_node_mark_read(two.bob, two.alice_id.text, sent));
    reached(two.alice, sent, FOG_DELIVERY_STATE_READ);
    OK(fog_mesh_node_send_public(two.bob, "to all", NULL));
    came = until(two.alice, FOG_MESH_KIND_PUBLIC);
    CHECK(strcmp(came.parts.text, "to all") == 0 && !came.parts.is_private);
    CHECK(came.parts.unix_ms > 0);
    fog_mesh_event_free(came.event);

    fog_mesh_stats counted;
    uint64_t received = 0;
    OK(fog_mesh_node_stats(two.alice, &counted));
    CHECK(counted.links == 1 && counted.bytes_in > 0 && counted.bytes_out > 0);
    OK(fog_mesh_node_counter(two.alice, "received", &received));
    CHECK(received > 0);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_counter(two.alice, "luck", &received));

    fog_mesh_node_free(two.bob);
    skip(two.alice, FOG_MESH_KIND_PEER_LEFT);
    bool was = false;
    OK(fog_mesh_node_disconnect(two.alice, address.text, &was));
    CHECK(was);
    OK(fog_mesh_node_disconnect(two.alice, address.text, &was));
    CHECK(!was);
    OK(fog_mesh_node_send_private(two.alice, two.bob_id.text, "while you were away", NULL));
    fog_mesh_node_free(two.alice);

    fog_peer_id again;
    char *nickname = NULL;
    OK(fog_mesh_node_start("", &config, &two.alice));
    OK(fog_mesh_node_id(two.alice, &again));
    OK(fog_mesh_node_nickname(two.alice, &nickname));
    CHECK(strcmp(again.text, two.alice_id.text) == 0 && strcmp(nickname, "alice") == 0);
    fog_string_free(nickname);
    OK(fog_mesh_node_stats(two.alice, &counted));
    CHECK(counted.waiting == 1);
    fog_mesh_messages *messages = NULL;
    fog_mesh_message message;
    OK(fog_mesh_node_history(two.alice, UINT64_MAX, 100, &messages));
    CHECK(fog_mesh_messages_count(messages) == 3);
    OK(fog_mesh_messages_read(messages, 0, &message));
    CHECK(strcmp(message.text, "while you were away") == 0 && message.is_own);
    OK(fog_mesh_messages_read(messages, 1, &message));
    CHECK(strcmp(message.text, "to all") == 0 && !message.is_own && !message.is_private);
    OK(fog_mesh_messages_read(messages, 2, &message));
    CHECK(strcmp(message.id, sent) == 0 && message.state == FOG_DELIVERY_STATE_READ);
    CHECK(strcmp(message.peer.text, two.bob_id.text) == 0 && message.is_private);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_messages_read(messages, 3, &message));
    fog_mesh_messages_free(messages);
    OK(fog_mesh_node_history_with_peer(two.alice, two.bob_id.text, UINT64_MAX, 100, &messages));
    CHECK(fog_mesh_messages_count(messages) == 2);
    OK(fog_mesh_messages_read(messages, 1, &message));
    CHECK(strcmp(message.id, sent) == 0);
    const uint64_t number = message.number;
    fog_mesh_messages_free(messages);
    OK(fog_mesh_node_delete_message(two.alice, number, &was));
    CHECK(was);
    OK(fog_mesh_node_delete_message(two.alice, number, &was));
    CHECK(!was);
    OK(fog_mesh_node_history(two.alice, UINT64_MAX, 100, &messages));
    CHECK(fog_mesh_messages_count(messages) == 2);
    fog_mesh_messages_free(messages);
    fog_string_free(sent);
    fog_mesh_node_free(two.alice);
    unlink(file);
    rmdir(folder);
}

static void test_members_of_a_fog_talk_and_a_stranger_is_nobody_to_them(void) {
    uint8_t key[FOG_KEY_BYTES];
    memset(key, 7, sizeof key);
    fog_mesh_node_config config;
    OK(fog_mesh_node_config_default(&config));
    config.fog_key = key;
    config.fog_key_len = sizeof key;
    struct two two = {0};
    fog_mesh_node *stranger = NULL;
    OK(fog_mesh_node_start("alice", &config, &two.alice));
    OK(fog_mesh_node_start("bob", &config, &two.bob));
    OK(fog_mesh_node_start("stranger", NULL, &stranger));
    OK(fog_mesh_node_id(two.alice, &two.alice_id));
    OK(fog_mesh_node_id(two.bob, &two.bob_id));
    OK(fog_mesh_node_link_with(stranger, two.bob));
    skip(two.bob, FOG_MESH_KIND_LINK_UP);
    OK(fog_mesh_node_link_with(two.alice, two.bob));
    join(&two);
    OK(fog_mesh_node_send_private(two.alice, two.bob_id.text, "between us", NULL));
    struct happened came = until(two.bob, FOG_MESH_KIND_PRIVATE);
    CHECK(strcmp(came.parts.text, "between us") == 0);
    CHECK(strcmp(came.parts.peer, two.alice_id.text) == 0);
    fog_mesh_event_free(came.event);

    fog_peer_id on_air, stranger_id;
    OK(fog_mesh_node_air_id(two.alice, &on_air));
    CHECK(strcmp(on_air.text, two.alice_id.text) != 0);
    OK(fog_mesh_node_air_id(stranger, &on_air));
    OK(fog_mesh_node_id(stranger, &stranger_id));
    CHECK(strcmp(on_air.text, stranger_id.text) == 0);
    OK(fog_mesh_node_send_public(stranger, "who is there", NULL));
    for (uint64_t strangers = 0; strangers == 0 && failures == 0;) {
        fog_mesh_event *event = NULL;
        OK(fog_mesh_node_receive(two.bob, 20000000, &event));
        fog_mesh_event_free(event);
        OK(fog_mesh_node_counter(two.bob, "strangers", &strangers));
    }
    const fog_mesh_node *const nodes[] = {two.alice, two.bob, stranger};
    for (size_t i = 0; i < 3; i++) {
        fog_mesh_peers *peers = NULL;
        OK(fog_mesh_node_peers(nodes[i], &peers));
        CHECK(fog_mesh_peers_count(peers) == (nodes[i] == stranger ? 0 : 1));
        fog_mesh_peers_free(peers);
    }
    fog_mesh_node_free(stranger);
    end_two(&two);

    config.fog_key_len = 31;
    fog_mesh_node *nobody = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_start("alice", &config, &nobody));
    CHECK(nobody == NULL);
}

static void test_groups_and_files_of_a_mesh(void) {
    char folder[] = "/tmp/fogcompute-mesh-XXXXXX", large[64], taken[64];
    if (mkdtemp(folder) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    snprintf(large, sizeof large, "%s/large", folder);
    snprintf(taken, sizeof taken, "%s/taken", folder);
    struct two two = start_two();
    OK(fog_mesh_node_link_with(two.alice, two.bob));
    join(&two);

    fog_id group;
    OK(fog_mesh_node_create_group(two.alice, "us", &two.bob_id, 1, &group));
    struct happened told = until(two.bob, FOG_MESH_KIND_GROUP);
    CHECK(strcmp(told.parts.group, group.text) == 0);
    CHECK(strcmp(told.parts.peer, two.alice_id.text) == 0);
    fog_mesh_event_free(told.event);
    fog_mesh_groups *groups = NULL;
    fog_mesh_group one;
    OK(fog_mesh_node_groups(two.bob, &groups));
    CHECK(fog_mesh_groups_count(groups) == 1);
    OK(fog_mesh_groups_read(groups, 0, &one));
    CHECK(strcmp(one.id.text, group.text) == 0 && strcmp(one.name, "us") == 0);
    CHECK(one.members_len == 2 && strcmp(one.members[0].text, two.alice_id.text) == 0);
    CHECK(!one.is_large);
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_groups_read(groups, 1, &one));
    fog_mesh_groups_free(groups);
    FAILS(FOG_STATUS_NOT_GROUP_CREATOR,
          fog_mesh_node_change_group(two.bob, group.text, NULL, 0));
    char *sent = NULL;
    OK(fog_mesh_node_send_group(two.alice, group.text, "between us", &sent));
    told = until(two.bob, FOG_MESH_KIND_GROUP_MESSAGE);
    CHECK(strcmp(told.parts.id, sent) == 0 && strcmp(told.parts.text, "between us") == 0);
    CHECK(told.parts.protection == FOG_PROTECTION_GROUP_KEY);
    fog_mesh_event_free(told.event);
    fog_string_free(sent);
    bool was = false;
    fog_mesh_messages *messages = NULL;
    OK(fog_mesh_node_history_of_group(two.bob, group.text, UINT64_MAX, 100, &messages));
    CHECK(fog_mesh_messages_count(messages) == 1);
    fog_mesh_message message;
    OK(fog_mesh_messages_read(messages, 0, &message));
    CHECK(strcmp(message.text, "between us") == 0 && strcmp(message.group, group.text) == 0);
    CHECK(message.hops == 1);
    fog_mesh_messages_free(messages);
    OK(fog_mesh_node_history_with_peer(two.bob, two.alice_id.text, UINT64_MAX, 100, &messages));
    CHECK(fog_mesh_messages_count(messages) == 0);
    fog_mesh_messages_free(messages);
    OK(fog_mesh_node_leave_group(two.bob, group.text, &was));
    CHECK(was);
    OK(fog_mesh_node_leave_group(two.bob, group.text, &was));
    CHECK(!was);
    OK(fog_mesh_node_create_large_group(two.alice, "many", &two.bob_id, 1, &group));
    told = until(two.bob, FOG_MESH_KIND_GROUP);
    CHECK(strcmp(told.parts.group, group.text) == 0);
    fog_mesh_event_free(told.event);
    OK(fog_mesh_node_groups(two.bob, &groups));
    OK(fog_mesh_groups_read(groups, 0, &one));
    CHECK(one.is_large);
    fog_mesh_groups_free(groups);
    OK(fog_mesh_node_send_group(two.alice, group.text, "between many", &sent));
    told = until(two.bob, FOG_MESH_KIND_GROUP_MESSAGE);
    CHECK(strcmp(told.parts.text, "between many") == 0);
    CHECK(told.parts.protection == FOG_PROTECTION_SENDER_KEY);
    fog_mesh_event_free(told.event);
    fog_string_free(sent);

    OK(fog_mesh_node_send_file(two.alice, two.bob_id.text, (const uint8_t *)"small", 5,
                               "small.txt", "text/plain"));
    told = until(two.bob, FOG_MESH_KIND_FILE);
    CHECK(told.parts.content_len == 5 && memcmp(told.parts.content, "small", 5) == 0);
    CHECK(strcmp(told.parts.text, "small.txt") == 0 && told.parts.is_private);
    fog_mesh_event_free(told.event);

    uint8_t content[100000];
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (uint8_t)(i * 7);
    }
    FILE *out = must(fopen(large, "wb"));
    CHECK(fwrite(content, 1, sizeof content, out) == sizeof content);
    fclose(out);
    fog_file_id name;
    OK(fog_mesh_node_offer_file(two.alice, two.bob_id.text, large, "text/plain", &name));
    told = until(two.bob, FOG_MESH_KIND_FILE_OFFERED);
    CHECK(strcmp(told.parts.file, name.text) == 0 && told.parts.length == sizeof content);
    CHECK(strcmp(told.parts.text, "large") == 0 && strcmp(told.parts.mime, "text/plain") == 0);
    fog_mesh_event_free(told.event);
    OK(fog_mesh_node_accept_file(two.bob, name.text, taken));
    told = until(two.bob, FOG_MESH_KIND_FILE_PROGRESS);
    CHECK(told.parts.done > 0 && told.parts.done <= sizeof content && !told.parts.is_sent);
    fog_mesh_event_free(told.event);
    told = until(two.bob, FOG_MESH_KIND_FILE_RECEIVED);
    CHECK(strcmp(told.parts.path, taken) == 0);
    fog_mesh_event_free(told.event);
    uint8_t copy[sizeof content + 1];
    FILE *in = must(fopen(taken, "rb"));
    CHECK(fread(copy, 1, sizeof copy, in) == sizeof content);
    CHECK(memcmp(copy, content, sizeof content) == 0);
    fclose(in);
    OK(fog_mesh_node_cancel_file(two.alice, name.text, &was));
    CHECK(was);
    end_two(&two);
    unlink(large);
    unlink(taken);
    rmdir(folder);
}

static void on_readable(void *user_data) {
    on_ended(user_data, FOG_STATUS_OK, NULL, "readable");
}

static void test_what_a_mesh_refuses_has_its_status(void) {
    static const char EIGHT[] = "abababababababab";
    static const char SIXTEEN[] = "abababababababababababababababab";
    struct two two = start_two();
    const fog_mesh_node *alice = two.alice;
    char file[65], *id = NULL;
    snprintf(file, sizeof file, "%s%s", SIXTEEN, SIXTEEN);
    FAILS(FOG_STATUS_UNKNOWN_PEER, fog_mesh_node_send_private(alice, EIGHT, "hello", &id));
    FAILS(FOG_STATUS_UNKNOWN_GROUP, fog_mesh_node_send_group(alice, SIXTEEN, "hello", &id));
    FAILS(FOG_STATUS_UNKNOWN_FILE, fog_mesh_node_accept_file(alice, file, "x"));
    FAILS(FOG_STATUS_INVALID_MESH_CONTENT, fog_mesh_node_send_public(alice, "", &id));
    fog_mesh_node *other = NULL;
    FAILS(FOG_STATUS_INVALID_MESH_CONTENT, fog_mesh_node_start("", NULL, &other));
    static const char *const WRONG[] = {"", "xyz", "abababababababa", "ababababababababab"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        FAILS(FOG_STATUS_INVALID_ARGUMENT,
              fog_mesh_node_send_private(alice, WRONG[i], "hello", &id));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_connect(alice, WRONG[i]));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_listen(alice, WRONG[i], NULL));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_send_group(alice, WRONG[i], "x", &id));
        FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_cancel_file(alice, WRONG[i], NULL));
        fog_mesh_messages *messages = NULL;
        FAILS(FOG_STATUS_INVALID_ARGUMENT,
              fog_mesh_node_history_with_peer(alice, WRONG[i], UINT64_MAX, 1, &messages));
        FAILS(FOG_STATUS_INVALID_ARGUMENT,
              fog_mesh_node_history_of_group(alice, WRONG[i], UINT64_MAX, 1, &messages));
    }
    fog_peer_id endless;
    memset(endless.text, 'a', sizeof endless.text);
    fog_id group;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_mesh_node_create_group(alice, "us", &endless, 1, &group));
    CHECK(id == NULL && other == NULL);

    fog_mesh_event *event = NULL;
    fog_mesh_event_parts parts;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_start(NULL, NULL, &other));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_receive(NULL, 0, &event));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_receive(alice, 0, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_event_read(NULL, &parts));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_when_readable(alice, NULL, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_link_with(alice, NULL));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_radio_inbox_writable(NULL, 1));
    CHECK(fog_mesh_peers_count(NULL) == 0 && fog_mesh_groups_count(NULL) == 0);
    CHECK(fog_mesh_messages_count(NULL) == 0);
    fog_mesh_peers_free(NULL);
    fog_mesh_groups_free(NULL);
    fog_mesh_messages_free(NULL);
    fog_mesh_event_free(NULL);
    fog_mesh_node_free(NULL);
    fog_radio_inbox_free(NULL);

    OK(fog_mesh_node_receive(alice, 0, &event));
    CHECK(event == NULL);
    OK(fog_mesh_node_close(alice));
    OK(fog_mesh_node_close(alice));
    FAILS(FOG_STATUS_CLOSED, fog_mesh_node_receive(alice, LONG_NS, &event));
    FAILS(FOG_STATUS_CLOSED, fog_mesh_node_send_public(alice, "hello", &id));
    FAILS(FOG_STATUS_CLOSED, fog_mesh_node_link_with(alice, two.bob));
    end_two(&two);
}

static void test_a_loop_is_woken_when_a_mesh_has_events(void) {
    struct two two = start_two();
    struct ending woken;
    ending_init(&woken);
    OK(fog_mesh_node_when_readable(two.bob, on_readable, &woken));
    CHECK(woken.calls == 0);
    OK(fog_mesh_node_link_with(two.alice, two.bob));
    wait_for(&woken);
    fog_mesh_event *event = NULL;
    OK(fog_mesh_node_receive(two.bob, 0, &event));
    CHECK(event != NULL);
    fog_mesh_event_free(event);
    ending_destroy(&woken);

    ending_init(&woken);
    struct two quiet = start_two();
    OK(fog_mesh_node_when_readable(quiet.alice, on_readable, &woken));
    fog_mesh_node_free(quiet.alice);
    quiet.alice = NULL;
    CHECK(woken.calls == 1);
    ending_destroy(&woken);
    end_two(&quiet);
    end_two(&two);
}

/* Two radios whose air is this program: what one writes, the other one hears. */
struct air {
    pthread_mutex_t lock;
    struct radio {
        struct air *air;
        uint8_t number;
        fog_radio_inbox *inbox;
        int values, detached;
        int32_t fails;
    } radios[2];
    bool is_open[64];
    uint64_t links;
};

static struct radio *other_end(struct radio *radio) {
    return &radio->air->radios[1 - radio->number];
}

static int32_t radio_attach(void *user_data, fog_radio_inbox *inbox) {
    struct radio *radio = user_data;
    pthread_mutex_lock(&radio->air->lock);
    radio->inbox = inbox;
    int32_t fails = radio->fails;
    pthread_mutex_unlock(&radio->air->lock);
    return fails;
}

static int32_t radio_advertise(void *user_data, const uint8_t *data, size_t data_len) {
    struct radio *radio = user_data, *other = other_end(radio);
    pthread_mutex_lock(&radio->air->lock);
    if (other->inbox != NULL) {
        OK(fog_radio_inbox_discovered(other->inbox, &radio->number, 1, -40, data, data_len, NULL));
    }
    pthread_mutex_unlock(&radio->air->lock);
    return 0;
}

static int32_t radio_quiet(void *user_data) {
    (void)user_data;
    return 0;
}

/* Who is attached later is heard by its advert. */
static int32_t radio_scan(void *user_data) {
    struct radio *radio = user_data, *other = other_end(radio);
    pthread_mutex_lock(&radio->air->lock);
    if (other->inbox != NULL) {
        OK(fog_radio_inbox_discovered(radio->inbox, &other->number, 1, -40, NULL, 0, NULL));
    }
    pthread_mutex_unlock(&radio->air->lock);
    return 0;
}

static int32_t radio_connect(void *user_data, const uint8_t *peer, size_t peer_len) {
    struct radio *radio = user_data, *other = other_end(radio);
    struct air *air = radio->air;
    if (peer_len != 1 || *peer != other->number) {
        return FOG_RADIO_REFUSED;
    }
    pthread_mutex_lock(&air->lock);
    uint64_t link = air->links + 1;
    bool is_there = other->inbox != NULL && link < sizeof air->is_open;
    if (is_there) {
        air->links = link;
        air->is_open[link] = true;
        OK(fog_radio_inbox_connected(radio->inbox, link, &other->number, 1, true, 517));
        OK(fog_radio_inbox_connected(other->inbox, link, &radio->number, 1, false, 517));
        OK(fog_radio_inbox_subscribed(radio->inbox, link));
        OK(fog_radio_inbox_subscribed(other->inbox, link));
    }
    pthread_mutex_unlock(&air->lock);
    return is_there ? 0 : FOG_RADIO_REFUSED;
}

static void end_link(struct radio *radio, uint64_t link) {
    struct radio *other = other_end(radio);
    if (link < sizeof radio->air->is_open && radio->air->is_open[link]) {
        radio->air->is_open[link] = false;
        OK(fog_radio_inbox_disconnected(radio->inbox, link, true));
        OK(fog_radio_inbox_disconnected(other->inbox, link, false));
    }
}

static int32_t radio_disconnect(void *user_data, uint64_t link) {
    struct radio *radio = user_data;
    pthread_mutex_lock(&radio->air->lock);
    end_link(radio, link);
    pthread_mutex_unlock(&radio->air->lock);
    return 0;
}

static int32_t radio_notify(void *user_data, uint64_t link, const uint8_t *value,
                            size_t value_len) {
    struct radio *radio = user_data;
    pthread_mutex_lock(&radio->air->lock);
    int32_t fails = radio->fails;
    if (fails == -2) {
        OK(fog_radio_inbox_failing(radio->inbox, "the antenna fell off"));
    } else if (fails == 0 && radio->air->is_open[link]) {
        radio->values++;
        bool taken = false;
        OK(fog_radio_inbox_received(other_end(radio)->inbox, link, value, value_len, &taken));
        CHECK(taken);
    }
    pthread_mutex_unlock(&radio->air->lock);
    return fails;
}

static int32_t radio_write(void *user_data, uint64_t link, const uint8_t *value, size_t value_len,
                           bool with_response) {
    (void)with_response;
    return radio_notify(user_data, link, value, value_len);
}

static void radio_detach(void *user_data) {
    struct radio *radio = user_data;
    pthread_mutex_lock(&radio->air->lock);
    for (uint64_t link = 0; link < sizeof radio->air->is_open; link++) {
        end_link(radio, link);
    }
    fog_radio_inbox_free(radio->inbox);
    radio->inbox = NULL;
    radio->detached++;
    pthread_mutex_unlock(&radio->air->lock);
}

static void radio_fails(struct radio *radio, int32_t fails) {
    pthread_mutex_lock(&radio->air->lock);
    radio->fails = fails;
    pthread_mutex_unlock(&radio->air->lock);
}

static fog_radio air_init(struct air *air) {
    memset(air, 0, sizeof *air);
    pthread_mutex_init(&air->lock, NULL);
    for (uint8_t i = 0; i < 2; i++) {
        air->radios[i].air = air;
        air->radios[i].number = i;
    }
    fog_radio radio = {
        .is_central = true,
        .is_peripheral = true,
        .links_max = 8,
        .user_data = &air->radios[0],
        .attach = radio_attach,
        .advertise = radio_advertise,
        .stop_advertising = radio_quiet,
        .scan = radio_scan,
        .stop_scanning = radio_quiet,
        .connect = radio_connect,
        .disconnect = radio_disconnect,
        .write = radio_write,
        .notify = radio_notify,
        .detach = radio_detach,
    };
    return radio;
}

static void test_nodes_talk_over_a_radio_written_in_c(void) {
    struct air air;
    fog_radio radio = air_init(&air);
    struct two two = start_two();
    OK(fog_mesh_node_add_radio(two.alice, &radio));
    radio.user_data = &air.radios[1];
    OK(fog_mesh_node_add_radio(two.bob, &radio));
    join(&two);
    char *sent = NULL;
    OK(fog_mesh_node_send_private(two.alice, two.bob_id.text, "over the air", &sent));
    struct happened told = until(two.bob, FOG_MESH_KIND_PRIVATE);
    CHECK(strcmp(told.parts.text, "over the air") == 0);
    fog_mesh_event_free(told.event);
    reached(two.alice, sent, FOG_DELIVERY_STATE_DELIVERED);
    fog_string_free(sent);

    /* What a radio fails at ends that connection, and neither node. */
    radio_fails(&air.radios[0], -2);
    OK(fog_mesh_node_send_public(two.alice, "lost", NULL));
    told = until(two.alice, FOG_MESH_KIND_RADIO_FAILED);
    CHECK(strcmp(told.parts.text, "the antenna fell off") == 0 && told.parts.number == 0);
    fog_mesh_event_free(told.event);
    skip(two.alice, FOG_MESH_KIND_LINK_DOWN);
    radio_fails(&air.radios[0], 0);
    OK(fog_mesh_node_send_public(two.alice, "there again", NULL));
    end_two(&two);
    for (size_t i = 0; i < 2; i++) {
        CHECK(air.radios[i].values > 0 && air.radios[i].detached == 1);
    }
    pthread_mutex_destroy(&air.lock);
}

static void test_a_radio_that_cannot_begin_is_not_added(void) {
    struct air air;
    fog_radio radio = air_init(&air);
    struct two two = start_two();
    radio_fails(&air.radios[0], 5);
    FAILS(FOG_STATUS_HOST_CALLBACK, fog_mesh_node_add_radio(two.alice, &radio));
    CHECK(strcmp(fog_last_error_message(), "attach returned 5") == 0);
    CHECK(air.radios[0].detached == 1 && air.radios[0].inbox == NULL);
    radio_fails(&air.radios[0], 0);
    fog_radio without = radio;
    without.notify = NULL;
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_add_radio(two.alice, &without));
    FAILS(FOG_STATUS_INVALID_ARGUMENT, fog_mesh_node_add_radio(two.alice, NULL));
    CHECK(air.radios[0].detached == 1);

    OK(fog_mesh_node_add_radio(two.alice, &radio));
    fog_radio_inbox *inbox = air.radios[0].inbox;
    uint8_t longest[65] = {0};
    bool taken = false;
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_radio_inbox_discovered(inbox, longest, sizeof longest, -40, NULL, 0, &taken));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_radio_inbox_connected(inbox, 1, longest, sizeof longest, true, 517));
    FAILS(FOG_STATUS_INVALID_ARGUMENT,
          fog_radio_inbox_connect_failed(inbox, longest, sizeof longest));
    CHECK(!taken);
    OK(fog_radio_inbox_discovered(inbox, longest, 64, -40, NULL, 0, &taken));
    CHECK(taken);
    /* What comes of no connection, or of Bluetooth that is off, does no harm. */
    OK(fog_radio_inbox_adapter(inbox, false));
    OK(fog_radio_inbox_mtu_changed(inbox, 9, 23));
    OK(fog_radio_inbox_writable(inbox, 9));
    OK(fog_radio_inbox_unsubscribed(inbox, 9));
    OK(fog_radio_inbox_stopped(inbox, true));
    OK(fog_radio_inbox_connect_failed(inbox, longest, 1));
    OK(fog_radio_inbox_received(inbox, 9, longest, 20, NULL));
    OK(fog_radio_inbox_adapter(inbox, true));
    OK(fog_mesh_node_close(two.alice));
    /* One that the node's thread had not come to yet was kept until the node was freed. */
    CHECK(air.radios[0].detached == 2);
    radio.user_data = &air.radios[1];
    FAILS(FOG_STATUS_CLOSED, fog_mesh_node_add_radio(two.alice, &radio));
    CHECK(air.radios[1].detached == 1);
    end_two(&two);
    pthread_mutex_destroy(&air.lock);
}

static void test_a_forked_child_cannot_use_its_parents_mesh(void) {
    struct two two = start_two();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        fog_mesh_event *event = NULL;
        FAILS(FOG_STATUS_CLOSED, fog_mesh_node_receive(two.alice, LONG_NS, &event));
        FAILS(FOG_STATUS_CLOSED, fog_mesh_node_send_public(two.alice, "hello", NULL));
        FAILS(FOG_STATUS_CLOSED, fog_mesh_node_when_readable(two.alice, on_readable, NULL));
        OK(fog_mesh_node_close(two.alice));
        end_two(&two);
        fflush(stdout);
        if (failures == 0) {
            /* What it left to its parent is a leak to those who look for leaks at an exit. */
            execlp("true", "true", (char *)NULL);
        }
        _exit(1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    OK(fog_mesh_node_link_with(two.alice, two.bob));
    join(&two);
    end_two(&two);
}

/* ---- all of it ---------------------------------------------------------------------------- */

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
#define TEST(name) {#name, test_##name}
        TEST(version),
        TEST(statuses_are_the_shared_error_codes),
        TEST(a_panic_becomes_a_status),
        TEST(each_thread_has_its_own_last_error),
        TEST(null_is_refused_or_ignored),
        TEST(null_is_refused_or_ignored_by_the_mixnet),
        TEST(sphinx_packets_open_hop_by_hop),
        TEST(small_buffers_are_told_the_needed_size),
        TEST(private_keys),
        TEST(a_batch_is_processed_in_place_and_one_bad_packet_harms_no_other),
        TEST(a_reply_block_brings_a_reply_back),
        TEST(a_processor_takes_a_packet_once),
        TEST(minimize_finds_the_same_fronts),
        TEST(minimize_tells_what_the_callback_did),
        TEST(minimize_takes_first_genomes_and_no_bad_ones),
        TEST(a_search_goes_on_from_what_was_saved),
        TEST(an_order_is_found),
        TEST(fronts_are_measured),
        TEST(placement_chooses_the_same_plans),
        TEST(placement_leaves_out_the_same_jobs),
        TEST(tiers_have_the_same_terms),
        TEST(zeroed_jobs_and_nodes_are_placed),
        TEST(placement_refuses_what_makes_no_sense),
        TEST(the_ledger_takes_the_same_steps),
        TEST(a_ledger_file_outlives_its_handle_and_has_one_owner),
        TEST(a_batch_is_all_or_nothing),
        TEST(every_refusal_of_the_ledger_has_its_status),
        TEST(a_reservation_expires_by_itself),
        TEST(owners_sign_and_auditors_check),
        TEST(a_ledger_is_copied_damaged_and_out_of_room),
        TEST(a_forked_child_cannot_use_what_its_parent_opened),
        TEST(stake_earns_is_slashed_leaves_and_is_paid_out_across_a_restart),
        TEST(contributions_are_paid_up_to_the_limit_of_the_day),
        TEST(rules_of_an_economy_are_told_and_set),
        TEST(every_refusal_of_the_economy_has_its_status),
        TEST(operations_of_the_economy_are_batched_and_signed),
        TEST(signed_votes_change_what_the_ledger_pays),
        TEST(votes_are_delegated_and_roles_are_told),
        TEST(every_bad_request_of_governance_has_its_status),
        TEST(what_is_signed_of_governance_is_the_same),
        TEST(policies_decide_alike),
        TEST(a_probe_may_fail),
        TEST(tasks_end_alike),
        TEST(a_worker_keeps_its_tasks),
        TEST(a_fog_of_processes_does_a_job_and_tells_of_it),
        TEST(who_watches_a_fog_waits_and_is_told_of_the_end),
        TEST(what_a_fog_of_processes_refuses_has_its_status),
        TEST(a_fog_refuses_what_it_cannot_be),
        TEST(submitted_tasks_tell_how_they_ended_once),
        TEST(a_task_can_be_cancelled),
        TEST(freeing_a_fog_ends_its_tasks),
        TEST(a_callback_may_free_its_fog),
        TEST(a_topology_is_read_as_it_was_signed),
        TEST(what_makes_no_topology_is_refused),
        TEST(a_message_and_its_answer_cross_the_mixnet),
        TEST(a_message_is_answered_once),
        TEST(a_client_started_again_answers_and_is_answered),
        TEST(a_state_that_does_not_open_is_refused),
        TEST(a_chosen_route_is_taken),
        TEST(what_a_mixnet_cannot_do_is_refused_by_name),
        TEST(closing_ends_what_is_waited_for),
        TEST(freeing_a_client_runs_its_callbacks_and_a_callback_may_free_it),
        TEST(a_new_epoch_brings_a_new_contact),
        TEST(a_forked_child_cannot_use_its_parents_mixnet),
        TEST(nodes_of_a_mesh_talk_over_tcp_and_go_on_after_a_restart),
        TEST(groups_and_files_of_a_mesh),
        TEST(members_of_a_fog_talk_and_a_stranger_is_nobody_to_them),
        TEST(what_a_mesh_refuses_has_its_status),
        TEST(a_loop_is_woken_when_a_mesh_has_events),
        TEST(nodes_talk_over_a_radio_written_in_c),
        TEST(a_radio_that_cannot_begin_is_not_added),
        TEST(a_forked_child_cannot_use_its_parents_mesh),
#undef TEST
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s REPOSITORY\n", argv[0]);
        return 2;
    }
    repository = argv[1];
    size_t len;
    char *json = read_file("bindings/vectors/shared.json", &len);
    shared = cJSON_ParseWithLength(json, len);
    free(json);
    if (shared == NULL) {
        fprintf(stderr, "the vectors are no JSON\n");
        return 2;
    }
    int passed = 0, failed = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        failures = 0;
        tests[i].run();
        printf("%s %s\n", failures == 0 ? "ok    " : "FAILED", tests[i].name);
        fflush(stdout);
        if (failures == 0) {
            passed++;
        } else {
            failed++;
        }
    }
    cJSON_Delete(shared);
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
