// fogcompute: privacy-preserving fog computing, for C++17 and later.
//
// A header over fogcompute.h; link the same library. Objects free themselves, failures are
// exceptions, and values are values: nothing here has to be released by hand.
//
//     fogcompute::fog fog;
//     auto output = fog.run(module, input).output;
//
// Exceptions of the caller's own callbacks (an objective function, a battery probe) do not cross
// the C library: they stop the call, which rethrows them unchanged.
//
// Objects may be moved, not copied. A const member function may be called from several threads at
// once on one object; everything else needs an object that no other thread uses at that time.

#ifndef FOGCOMPUTE_HPP
#define FOGCOMPUTE_HPP

#include "fogcompute.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fogcompute {

/// Version of the library that is linked, such as "0.1.0".
inline std::string version() { return fog_version(); }

// ---- errors -----------------------------------------------------------------------------------

/// Every failure of the library.
class error : public std::runtime_error {
public:
    error(fog_status code, const std::string &message)
        : std::runtime_error(message), code_(code) {}

    /// The stable code, the same in every language.
    fog_status code() const noexcept { return code_; }

    /// Its name, the same in every language.
    const char *name() const noexcept { return fog_status_name(code_); }

private:
    fog_status code_;
};

/// Failures of the mixnet: its packets, topologies, nodes and clients.
class mixnet_error : public error {
    using error::error;
};

/// Failures of the mixnet's packets.
class packet_error : public mixnet_error {
    using mixnet_error::mixnet_error;
};

/// Failures of optimisation and placement.
class schedule_error : public error {
    using error::error;
};

/// Failures of the ledger's rules.
class ledger_error : public error {
    using error::error;
};

/// Failures of governance.
class governance_error : public error {
    using error::error;
};

/// Failures of a mesh node.
class mesh_error : public error {
    using error::error;
};

/// Failures of a coordinator, or of the way to it.
class coordinator_error : public error {
    using error::error;
};

/// Failures of harvesting.
class harvest_error : public error {
    using error::error;
};

/// Failures of a task.
class task_error : public error {
    using error::error;
};

/// Failures of a file.
class storage_error : public error {
    using error::error;
};

/// The failure of one code.
template <fog_status Code, class Base>
class error_of : public Base {
public:
    explicit error_of(const std::string &message) : Base(Code, message) {}
};

using invalid_argument = error_of<FOG_STATUS_INVALID_ARGUMENT, error>;
using panic = error_of<FOG_STATUS_PANIC, error>;
using host_callback_failed = error_of<FOG_STATUS_HOST_CALLBACK, error>;
using cancelled = error_of<FOG_STATUS_CANCELLED, error>;
using closed = error_of<FOG_STATUS_CLOSED, error>;
using buffer_too_small = error_of<FOG_STATUS_BUFFER_TOO_SMALL, error>;
using invalid_packet = error_of<FOG_STATUS_INVALID_PACKET, packet_error>;
using invalid_route = error_of<FOG_STATUS_INVALID_ROUTE, packet_error>;
using payload_too_large = error_of<FOG_STATUS_PAYLOAD_TOO_LARGE, packet_error>;
using replayed = error_of<FOG_STATUS_REPLAYED, packet_error>;
using invalid_topology = error_of<FOG_STATUS_INVALID_TOPOLOGY, mixnet_error>;
using invalid_reply_block = error_of<FOG_STATUS_INVALID_REPLY_BLOCK, packet_error>;
using not_delivered = error_of<FOG_STATUS_NOT_DELIVERED, mixnet_error>;
using no_answer = error_of<FOG_STATUS_NO_ANSWER, mixnet_error>;
using mixnet_busy = error_of<FOG_STATUS_MIXNET_BUSY, mixnet_error>;
using invalid_problem = error_of<FOG_STATUS_INVALID_PROBLEM, schedule_error>;
using not_finite = error_of<FOG_STATUS_NOT_FINITE, schedule_error>;
using infeasible = error_of<FOG_STATUS_INFEASIBLE, schedule_error>;
using insufficient_funds = error_of<FOG_STATUS_INSUFFICIENT_FUNDS, ledger_error>;
using unknown_account = error_of<FOG_STATUS_UNKNOWN_ACCOUNT, ledger_error>;
using account_exists = error_of<FOG_STATUS_ACCOUNT_EXISTS, ledger_error>;
using id_reused = error_of<FOG_STATUS_ID_REUSED, ledger_error>;
using reservation_closed = error_of<FOG_STATUS_RESERVATION_CLOSED, ledger_error>;
using invalid_operation = error_of<FOG_STATUS_INVALID_OPERATION, ledger_error>;
using unknown_reservation = error_of<FOG_STATUS_UNKNOWN_RESERVATION, ledger_error>;
using batch_empty = error_of<FOG_STATUS_BATCH_EMPTY, ledger_error>;
using batch_too_large = error_of<FOG_STATUS_BATCH_TOO_LARGE, ledger_error>;
using zero_amount = error_of<FOG_STATUS_ZERO_AMOUNT, ledger_error>;
using same_account = error_of<FOG_STATUS_SAME_ACCOUNT, ledger_error>;
using account_closed = error_of<FOG_STATUS_ACCOUNT_CLOSED, ledger_error>;
using account_in_use = error_of<FOG_STATUS_ACCOUNT_IN_USE, ledger_error>;
using not_an_issuer = error_of<FOG_STATUS_NOT_AN_ISSUER, ledger_error>;
using asset_mismatch = error_of<FOG_STATUS_ASSET_MISMATCH, ledger_error>;
using not_a_reservation = error_of<FOG_STATUS_NOT_A_RESERVATION, ledger_error>;
using post_exceeds_reservation = error_of<FOG_STATUS_POST_EXCEEDS_RESERVATION, ledger_error>;
using reservation_expired = error_of<FOG_STATUS_RESERVATION_EXPIRED, ledger_error>;
using expires_in_past = error_of<FOG_STATUS_EXPIRES_IN_PAST, ledger_error>;
using amount_overflow = error_of<FOG_STATUS_AMOUNT_OVERFLOW, ledger_error>;
using supply_exceeded = error_of<FOG_STATUS_SUPPLY_EXCEEDED, ledger_error>;
using credits_exceed_debits = error_of<FOG_STATUS_CREDITS_EXCEED_DEBITS, ledger_error>;
using quota_exceeded = error_of<FOG_STATUS_QUOTA_EXCEEDED, ledger_error>;
using signature_expired = error_of<FOG_STATUS_SIGNATURE_EXPIRED, ledger_error>;
using no_owner = error_of<FOG_STATUS_NO_OWNER, ledger_error>;
using signature_forged = error_of<FOG_STATUS_SIGNATURE_FORGED, ledger_error>;
using signature_replayed = error_of<FOG_STATUS_SIGNATURE_REPLAYED, ledger_error>;
using nonce_skipped = error_of<FOG_STATUS_NONCE_SKIPPED, ledger_error>;
using not_the_owner = error_of<FOG_STATUS_NOT_THE_OWNER, ledger_error>;
using not_for_owners = error_of<FOG_STATUS_NOT_FOR_OWNERS, ledger_error>;
using checkpoint_forged = error_of<FOG_STATUS_CHECKPOINT_FORGED, ledger_error>;
using checkpoint_differs = error_of<FOG_STATUS_CHECKPOINT_DIFFERS, ledger_error>;
using checkpoint_missing = error_of<FOG_STATUS_CHECKPOINT_MISSING, ledger_error>;
using no_economy = error_of<FOG_STATUS_NO_ECONOMY, ledger_error>;
using invalid_economy = error_of<FOG_STATUS_INVALID_ECONOMY, ledger_error>;
using unknown_parameter = error_of<FOG_STATUS_UNKNOWN_PARAMETER, ledger_error>;
using purse_account = error_of<FOG_STATUS_PURSE_ACCOUNT, ledger_error>;
using account_staked = error_of<FOG_STATUS_ACCOUNT_STAKED, ledger_error>;
using host_only = error_of<FOG_STATUS_HOST_ONLY, ledger_error>;
using matures_by_time = error_of<FOG_STATUS_MATURES_BY_TIME, ledger_error>;
using batch_too_long = error_of<FOG_STATUS_BATCH_TOO_LONG, ledger_error>;
using clock_behind = error_of<FOG_STATUS_CLOCK_BEHIND, ledger_error>;
using unknown_operator = error_of<FOG_STATUS_UNKNOWN_OPERATOR, ledger_error>;
using operator_exists = error_of<FOG_STATUS_OPERATOR_EXISTS, ledger_error>;
using unknown_delegator = error_of<FOG_STATUS_UNKNOWN_DELEGATOR, ledger_error>;
using exceeds_stake = error_of<FOG_STATUS_EXCEEDS_STAKE, ledger_error>;
using jailed = error_of<FOG_STATUS_JAILED, ledger_error>;
using tombstoned = error_of<FOG_STATUS_TOMBSTONED, ledger_error>;
using not_jailed = error_of<FOG_STATUS_NOT_JAILED, ledger_error>;
using too_many_entries = error_of<FOG_STATUS_TOO_MANY_ENTRIES, ledger_error>;
using unknown_entry = error_of<FOG_STATUS_UNKNOWN_ENTRY, ledger_error>;
using entry_matured = error_of<FOG_STATUS_ENTRY_MATURED, ledger_error>;
using exceeds_entry = error_of<FOG_STATUS_EXCEEDS_ENTRY, ledger_error>;
using transitive_redelegation = error_of<FOG_STATUS_TRANSITIVE_REDELEGATION, ledger_error>;
using nothing_to_claim = error_of<FOG_STATUS_NOTHING_TO_CLAIM, ledger_error>;
using evidence_too_old = error_of<FOG_STATUS_EVIDENCE_TOO_OLD, ledger_error>;
using evidence_repeated = error_of<FOG_STATUS_EVIDENCE_REPEATED, ledger_error>;
using commission_too_large = error_of<FOG_STATUS_COMMISSION_TOO_LARGE, ledger_error>;
using commission_too_soon = error_of<FOG_STATUS_COMMISSION_TOO_SOON, ledger_error>;
using claim_repeated = error_of<FOG_STATUS_CLAIM_REPEATED, ledger_error>;
using insurance_short = error_of<FOG_STATUS_INSURANCE_SHORT, ledger_error>;
using staking_refused = error_of<FOG_STATUS_STAKING_REFUSED, ledger_error>;
using unknown_rule = error_of<FOG_STATUS_UNKNOWN_RULE, ledger_error>;
using unknown_fact = error_of<FOG_STATUS_UNKNOWN_FACT, ledger_error>;
using fact_missing = error_of<FOG_STATUS_FACT_MISSING, ledger_error>;
using requirement_not_met = error_of<FOG_STATUS_REQUIREMENT_NOT_MET, ledger_error>;
using fact_too_large = error_of<FOG_STATUS_FACT_TOO_LARGE, ledger_error>;
using session_too_short = error_of<FOG_STATUS_SESSION_TOO_SHORT, ledger_error>;
using session_too_large = error_of<FOG_STATUS_SESSION_TOO_LARGE, ledger_error>;
using daily_limit_reached = error_of<FOG_STATUS_DAILY_LIMIT_REACHED, ledger_error>;
using earning_refused = error_of<FOG_STATUS_EARNING_REFUSED, ledger_error>;
using invalid_policy = error_of<FOG_STATUS_INVALID_POLICY, harvest_error>;
using probe_failed = error_of<FOG_STATUS_PROBE_FAILED, harvest_error>;
using invalid_module = error_of<FOG_STATUS_INVALID_MODULE, task_error>;
using out_of_fuel = error_of<FOG_STATUS_OUT_OF_FUEL, task_error>;
using out_of_memory = error_of<FOG_STATUS_OUT_OF_MEMORY, task_error>;
using invalid_output = error_of<FOG_STATUS_INVALID_OUTPUT, task_error>;
using trap = error_of<FOG_STATUS_TRAP, task_error>;
using task_lost = error_of<FOG_STATUS_TASK_LOST, task_error>;
using unknown_task = error_of<FOG_STATUS_UNKNOWN_TASK, task_error>;
using task_timed_out = error_of<FOG_STATUS_TASK_TIMED_OUT, task_error>;
using task_skipped = error_of<FOG_STATUS_TASK_SKIPPED, task_error>;
using task_open = error_of<FOG_STATUS_TASK_OPEN, task_error>;
using too_many_tasks = error_of<FOG_STATUS_TOO_MANY_TASKS, task_error>;
using storage_failed = error_of<FOG_STATUS_STORAGE, storage_error>;
using storage_locked = error_of<FOG_STATUS_STORAGE_LOCKED, storage_error>;
using storage_corrupt = error_of<FOG_STATUS_STORAGE_CORRUPT, storage_error>;
using storage_full = error_of<FOG_STATUS_STORAGE_FULL, storage_error>;
using storage_read_only = error_of<FOG_STATUS_STORAGE_READ_ONLY, storage_error>;
using storage_is_folder = error_of<FOG_STATUS_STORAGE_IS_FOLDER, storage_error>;
using storage_no_folder = error_of<FOG_STATUS_STORAGE_NO_FOLDER, storage_error>;
using storage_foreign = error_of<FOG_STATUS_STORAGE_FOREIGN, storage_error>;
using storage_too_new = error_of<FOG_STATUS_STORAGE_TOO_NEW, storage_error>;
using storage_exists = error_of<FOG_STATUS_STORAGE_EXISTS, storage_error>;
using storage_not_empty = error_of<FOG_STATUS_STORAGE_NOT_EMPTY, storage_error>;
using storage_uncertain = error_of<FOG_STATUS_STORAGE_UNCERTAIN, storage_error>;
using storage_reopen = error_of<FOG_STATUS_STORAGE_REOPEN, storage_error>;
using invalid_transcript = error_of<FOG_STATUS_INVALID_TRANSCRIPT, storage_error>;
using storage_missing = error_of<FOG_STATUS_STORAGE_MISSING, storage_error>;
using node_failed = error_of<FOG_STATUS_NODE, error>;
using listen_failed = error_of<FOG_STATUS_LISTEN, error>;
using governed = error_of<FOG_STATUS_GOVERNED, governance_error>;
using paused = error_of<FOG_STATUS_PAUSED, governance_error>;
using signature_required = error_of<FOG_STATUS_SIGNATURE_REQUIRED, governance_error>;
using unknown_proposal = error_of<FOG_STATUS_UNKNOWN_PROPOSAL, governance_error>;
using proposal_exists = error_of<FOG_STATUS_PROPOSAL_EXISTS, governance_error>;
using invalid_proposal = error_of<FOG_STATUS_INVALID_PROPOSAL, governance_error>;
using control_character = error_of<FOG_STATUS_CONTROL_CHARACTER, governance_error>;
using no_actions = error_of<FOG_STATUS_NO_ACTIONS, governance_error>;
using too_many_actions = error_of<FOG_STATUS_TOO_MANY_ACTIONS, governance_error>;
using action_not_allowed = error_of<FOG_STATUS_ACTION_NOT_ALLOWED, governance_error>;
using parameter_out_of_range = error_of<FOG_STATUS_PARAMETER_OUT_OF_RANGE, governance_error>;
using treasury_short = error_of<FOG_STATUS_TREASURY_SHORT, governance_error>;
using action_refused = error_of<FOG_STATUS_ACTION_REFUSED, governance_error>;
using below_threshold = error_of<FOG_STATUS_BELOW_THRESHOLD, governance_error>;
using too_many_proposals = error_of<FOG_STATUS_TOO_MANY_PROPOSALS, governance_error>;
using voting_not_started = error_of<FOG_STATUS_VOTING_NOT_STARTED, governance_error>;
using voting_over = error_of<FOG_STATUS_VOTING_OVER, governance_error>;
using unknown_choice = error_of<FOG_STATUS_UNKNOWN_CHOICE, governance_error>;
using no_voting_power = error_of<FOG_STATUS_NO_VOTING_POWER, governance_error>;
using already_voted = error_of<FOG_STATUS_ALREADY_VOTED, governance_error>;
using too_many_vote_changes = error_of<FOG_STATUS_TOO_MANY_VOTE_CHANGES, governance_error>;
using wrong_state = error_of<FOG_STATUS_WRONG_STATE, governance_error>;
using timelock_running = error_of<FOG_STATUS_TIMELOCK_RUNNING, governance_error>;
using not_permitted = error_of<FOG_STATUS_NOT_PERMITTED, governance_error>;
using action_failed = error_of<FOG_STATUS_ACTION_FAILED, governance_error>;
using circular_delegation = error_of<FOG_STATUS_CIRCULAR_DELEGATION, governance_error>;
using delegation_too_complex = error_of<FOG_STATUS_DELEGATION_TOO_COMPLEX, governance_error>;
using invalid_delegation = error_of<FOG_STATUS_INVALID_DELEGATION, governance_error>;
using nothing_delegated = error_of<FOG_STATUS_NOTHING_DELEGATED, governance_error>;
using already_enrolled = error_of<FOG_STATUS_ALREADY_ENROLLED, governance_error>;
using already_established = error_of<FOG_STATUS_ALREADY_ESTABLISHED, governance_error>;
using future_lookup = error_of<FOG_STATUS_FUTURE_LOOKUP, governance_error>;
using governance_refused = error_of<FOG_STATUS_GOVERNANCE_REFUSED, governance_error>;
using unknown_peer = error_of<FOG_STATUS_UNKNOWN_PEER, mesh_error>;
using not_understood = error_of<FOG_STATUS_NOT_UNDERSTOOD, mesh_error>;
using unknown_group = error_of<FOG_STATUS_UNKNOWN_GROUP, mesh_error>;
using not_group_creator = error_of<FOG_STATUS_NOT_GROUP_CREATOR, mesh_error>;
using mesh_busy = error_of<FOG_STATUS_MESH_BUSY, mesh_error>;
using invalid_mesh_content = error_of<FOG_STATUS_INVALID_MESH_CONTENT, mesh_error>;
using unknown_file = error_of<FOG_STATUS_UNKNOWN_FILE, mesh_error>;
using coordinator_unreachable = error_of<FOG_STATUS_COORDINATOR_UNREACHABLE, coordinator_error>;
using coordinator_silent = error_of<FOG_STATUS_COORDINATOR_SILENT, coordinator_error>;
using invalid_token = error_of<FOG_STATUS_INVALID_TOKEN, coordinator_error>;
using token_expired = error_of<FOG_STATUS_TOKEN_EXPIRED, coordinator_error>;
using token_forbids = error_of<FOG_STATUS_TOKEN_FORBIDS, coordinator_error>;
using token_used_up = error_of<FOG_STATUS_TOKEN_USED_UP, coordinator_error>;
using call_refused = error_of<FOG_STATUS_CALL_REFUSED, coordinator_error>;
using coordinator_busy = error_of<FOG_STATUS_COORDINATOR_BUSY, coordinator_error>;
using invalid_job = error_of<FOG_STATUS_INVALID_JOB, coordinator_error>;
using no_result = error_of<FOG_STATUS_NO_RESULT, coordinator_error>;
using unknown_node = error_of<FOG_STATUS_UNKNOWN_NODE, coordinator_error>;
using invalid_answer = error_of<FOG_STATUS_INVALID_ANSWER, coordinator_error>;

namespace detail {

/// Throws the exception of a status. A status of a newer library becomes a plain `error`.
[[noreturn]] inline void raise(fog_status status, const std::string &message) {
    // No default: the compiler warns when a status is missing.
    switch (status) {
    case FOG_STATUS_OK: break;
    case FOG_STATUS_INVALID_ARGUMENT: throw invalid_argument(message);
    case FOG_STATUS_PANIC: throw panic(message);
    case FOG_STATUS_HOST_CALLBACK: throw host_callback_failed(message);
    case FOG_STATUS_CANCELLED: throw cancelled(message);
    case FOG_STATUS_CLOSED: throw closed(message);
    case FOG_STATUS_BUFFER_TOO_SMALL: throw buffer_too_small(message);
    case FOG_STATUS_INVALID_PACKET: throw invalid_packet(message);
    case FOG_STATUS_INVALID_ROUTE: throw invalid_route(message);
    case FOG_STATUS_PAYLOAD_TOO_LARGE: throw payload_too_large(message);
    case FOG_STATUS_REPLAYED: throw replayed(message);
    case FOG_STATUS_INVALID_TOPOLOGY: throw invalid_topology(message);
    case FOG_STATUS_INVALID_REPLY_BLOCK: throw invalid_reply_block(message);
    case FOG_STATUS_NOT_DELIVERED: throw not_delivered(message);
    case FOG_STATUS_NO_ANSWER: throw no_answer(message);
    case FOG_STATUS_MIXNET_BUSY: throw mixnet_busy(message);
    case FOG_STATUS_INVALID_PROBLEM: throw invalid_problem(message);
    case FOG_STATUS_NOT_FINITE: throw not_finite(message);
    case FOG_STATUS_INFEASIBLE: throw infeasible(message);
    case FOG_STATUS_INSUFFICIENT_FUNDS: throw insufficient_funds(message);
    case FOG_STATUS_UNKNOWN_ACCOUNT: throw unknown_account(message);
    case FOG_STATUS_ACCOUNT_EXISTS: throw account_exists(message);
    case FOG_STATUS_ID_REUSED: throw id_reused(message);
    case FOG_STATUS_RESERVATION_CLOSED: throw reservation_closed(message);
    case FOG_STATUS_INVALID_OPERATION: throw invalid_operation(message);
    case FOG_STATUS_UNKNOWN_RESERVATION: throw unknown_reservation(message);
    case FOG_STATUS_BATCH_EMPTY: throw batch_empty(message);
    case FOG_STATUS_BATCH_TOO_LARGE: throw batch_too_large(message);
    case FOG_STATUS_ZERO_AMOUNT: throw zero_amount(message);
    case FOG_STATUS_SAME_ACCOUNT: throw same_account(message);
    case FOG_STATUS_ACCOUNT_CLOSED: throw account_closed(message);
    case FOG_STATUS_ACCOUNT_IN_USE: throw account_in_use(message);
    case FOG_STATUS_NOT_AN_ISSUER: throw not_an_issuer(message);
    case FOG_STATUS_ASSET_MISMATCH: throw asset_mismatch(message);
    case FOG_STATUS_NOT_A_RESERVATION: throw not_a_reservation(message);
    case FOG_STATUS_POST_EXCEEDS_RESERVATION: throw post_exceeds_reservation(message);
    case FOG_STATUS_RESERVATION_EXPIRED: throw reservation_expired(message);
    case FOG_STATUS_EXPIRES_IN_PAST: throw expires_in_past(message);
    case FOG_STATUS_AMOUNT_OVERFLOW: throw amount_overflow(message);
    case FOG_STATUS_SUPPLY_EXCEEDED: throw supply_exceeded(message);
    case FOG_STATUS_CREDITS_EXCEED_DEBITS: throw credits_exceed_debits(message);
    case FOG_STATUS_QUOTA_EXCEEDED: throw quota_exceeded(message);
    case FOG_STATUS_SIGNATURE_EXPIRED: throw signature_expired(message);
    case FOG_STATUS_NO_OWNER: throw no_owner(message);
    case FOG_STATUS_SIGNATURE_FORGED: throw signature_forged(message);
    case FOG_STATUS_SIGNATURE_REPLAYED: throw signature_replayed(message);
    case FOG_STATUS_NONCE_SKIPPED: throw nonce_skipped(message);
    case FOG_STATUS_NOT_THE_OWNER: throw not_the_owner(message);
    case FOG_STATUS_NOT_FOR_OWNERS: throw not_for_owners(message);
    case FOG_STATUS_CHECKPOINT_FORGED: throw checkpoint_forged(message);
    case FOG_STATUS_CHECKPOINT_DIFFERS: throw checkpoint_differs(message);
    case FOG_STATUS_CHECKPOINT_MISSING: throw checkpoint_missing(message);
    case FOG_STATUS_NO_ECONOMY: throw no_economy(message);
    case FOG_STATUS_INVALID_ECONOMY: throw invalid_economy(message);
    case FOG_STATUS_UNKNOWN_PARAMETER: throw unknown_parameter(message);
    case FOG_STATUS_PURSE_ACCOUNT: throw purse_account(message);
    case FOG_STATUS_ACCOUNT_STAKED: throw account_staked(message);
    case FOG_STATUS_HOST_ONLY: throw host_only(message);
    case FOG_STATUS_MATURES_BY_TIME: throw matures_by_time(message);
    case FOG_STATUS_BATCH_TOO_LONG: throw batch_too_long(message);
    case FOG_STATUS_CLOCK_BEHIND: throw clock_behind(message);
    case FOG_STATUS_UNKNOWN_OPERATOR: throw unknown_operator(message);
    case FOG_STATUS_OPERATOR_EXISTS: throw operator_exists(message);
    case FOG_STATUS_UNKNOWN_DELEGATOR: throw unknown_delegator(message);
    case FOG_STATUS_EXCEEDS_STAKE: throw exceeds_stake(message);
    case FOG_STATUS_JAILED: throw jailed(message);
    case FOG_STATUS_TOMBSTONED: throw tombstoned(message);
    case FOG_STATUS_NOT_JAILED: throw not_jailed(message);
    case FOG_STATUS_TOO_MANY_ENTRIES: throw too_many_entries(message);
    case FOG_STATUS_UNKNOWN_ENTRY: throw unknown_entry(message);
    case FOG_STATUS_ENTRY_MATURED: throw entry_matured(message);
    case FOG_STATUS_EXCEEDS_ENTRY: throw exceeds_entry(message);
    case FOG_STATUS_TRANSITIVE_REDELEGATION: throw transitive_redelegation(message);
    case FOG_STATUS_NOTHING_TO_CLAIM: throw nothing_to_claim(message);
    case FOG_STATUS_EVIDENCE_TOO_OLD: throw evidence_too_old(message);
    case FOG_STATUS_EVIDENCE_REPEATED: throw evidence_repeated(message);
    case FOG_STATUS_COMMISSION_TOO_LARGE: throw commission_too_large(message);
    case FOG_STATUS_COMMISSION_TOO_SOON: throw commission_too_soon(message);
    case FOG_STATUS_CLAIM_REPEATED: throw claim_repeated(message);
    case FOG_STATUS_INSURANCE_SHORT: throw insurance_short(message);
    case FOG_STATUS_STAKING_REFUSED: throw staking_refused(message);
    case FOG_STATUS_UNKNOWN_RULE: throw unknown_rule(message);
    case FOG_STATUS_UNKNOWN_FACT: throw unknown_fact(message);
    case FOG_STATUS_FACT_MISSING: throw fact_missing(message);
    case FOG_STATUS_REQUIREMENT_NOT_MET: throw requirement_not_met(message);
    case FOG_STATUS_FACT_TOO_LARGE: throw fact_too_large(message);
    case FOG_STATUS_SESSION_TOO_SHORT: throw session_too_short(message);
    case FOG_STATUS_SESSION_TOO_LARGE: throw session_too_large(message);
    case FOG_STATUS_DAILY_LIMIT_REACHED: throw daily_limit_reached(message);
    case FOG_STATUS_EARNING_REFUSED: throw earning_refused(message);
    case FOG_STATUS_INVALID_POLICY: throw invalid_policy(message);
    case FOG_STATUS_PROBE_FAILED: throw probe_failed(message);
    case FOG_STATUS_INVALID_MODULE: throw invalid_module(message);
    case FOG_STATUS_OUT_OF_FUEL: throw out_of_fuel(message);
    case FOG_STATUS_OUT_OF_MEMORY: throw out_of_memory(message);
    case FOG_STATUS_INVALID_OUTPUT: throw invalid_output(message);
    case FOG_STATUS_TRAP: throw trap(message);
    case FOG_STATUS_TASK_LOST: throw task_lost(message);
    case FOG_STATUS_UNKNOWN_TASK: throw unknown_task(message);
    case FOG_STATUS_TASK_TIMED_OUT: throw task_timed_out(message);
    case FOG_STATUS_TASK_SKIPPED: throw task_skipped(message);
    case FOG_STATUS_TASK_OPEN: throw task_open(message);
    case FOG_STATUS_TOO_MANY_TASKS: throw too_many_tasks(message);
    case FOG_STATUS_STORAGE: throw storage_failed(message);
    case FOG_STATUS_STORAGE_LOCKED: throw storage_locked(message);
    case FOG_STATUS_STORAGE_CORRUPT: throw storage_corrupt(message);
    case FOG_STATUS_STORAGE_FULL: throw storage_full(message);
    case FOG_STATUS_STORAGE_READ_ONLY: throw storage_read_only(message);
    case FOG_STATUS_STORAGE_IS_FOLDER: throw storage_is_folder(message);
    case FOG_STATUS_STORAGE_NO_FOLDER: throw storage_no_folder(message);
    case FOG_STATUS_STORAGE_FOREIGN: throw storage_foreign(message);
    case FOG_STATUS_STORAGE_TOO_NEW: throw storage_too_new(message);
    case FOG_STATUS_STORAGE_EXISTS: throw storage_exists(message);
    case FOG_STATUS_STORAGE_NOT_EMPTY: throw storage_not_empty(message);
    case FOG_STATUS_STORAGE_UNCERTAIN: throw storage_uncertain(message);
    case FOG_STATUS_STORAGE_REOPEN: throw storage_reopen(message);
    case FOG_STATUS_INVALID_TRANSCRIPT: throw invalid_transcript(message);
    case FOG_STATUS_STORAGE_MISSING: throw storage_missing(message);
    case FOG_STATUS_NODE: throw node_failed(message);
    case FOG_STATUS_LISTEN: throw listen_failed(message);
    case FOG_STATUS_GOVERNED: throw governed(message);
    case FOG_STATUS_PAUSED: throw paused(message);
    case FOG_STATUS_SIGNATURE_REQUIRED: throw signature_required(message);
    case FOG_STATUS_UNKNOWN_PROPOSAL: throw unknown_proposal(message);
    case FOG_STATUS_PROPOSAL_EXISTS: throw proposal_exists(message);
    case FOG_STATUS_INVALID_PROPOSAL: throw invalid_proposal(message);
    case FOG_STATUS_CONTROL_CHARACTER: throw control_character(message);
    case FOG_STATUS_NO_ACTIONS: throw no_actions(message);
    case FOG_STATUS_TOO_MANY_ACTIONS: throw too_many_actions(message);
    case FOG_STATUS_ACTION_NOT_ALLOWED: throw action_not_allowed(message);
    case FOG_STATUS_PARAMETER_OUT_OF_RANGE: throw parameter_out_of_range(message);
    case FOG_STATUS_TREASURY_SHORT: throw treasury_short(message);
    case FOG_STATUS_ACTION_REFUSED: throw action_refused(message);
    case FOG_STATUS_BELOW_THRESHOLD: throw below_threshold(message);
    case FOG_STATUS_TOO_MANY_PROPOSALS: throw too_many_proposals(message);
    case FOG_STATUS_VOTING_NOT_STARTED: throw voting_not_started(message);
    case FOG_STATUS_VOTING_OVER: throw voting_over(message);
    case FOG_STATUS_UNKNOWN_CHOICE: throw unknown_choice(message);
    case FOG_STATUS_NO_VOTING_POWER: throw no_voting_power(message);
    case FOG_STATUS_ALREADY_VOTED: throw already_voted(message);
    case FOG_STATUS_TOO_MANY_VOTE_CHANGES: throw too_many_vote_changes(message);
    case FOG_STATUS_WRONG_STATE: throw wrong_state(message);
    case FOG_STATUS_TIMELOCK_RUNNING: throw timelock_running(message);
    case FOG_STATUS_NOT_PERMITTED: throw not_permitted(message);
    case FOG_STATUS_ACTION_FAILED: throw action_failed(message);
    case FOG_STATUS_CIRCULAR_DELEGATION: throw circular_delegation(message);
    case FOG_STATUS_DELEGATION_TOO_COMPLEX: throw delegation_too_complex(message);
    case FOG_STATUS_INVALID_DELEGATION: throw invalid_delegation(message);
    case FOG_STATUS_NOTHING_DELEGATED: throw nothing_delegated(message);
    case FOG_STATUS_ALREADY_ENROLLED: throw already_enrolled(message);
    case FOG_STATUS_ALREADY_ESTABLISHED: throw already_established(message);
    case FOG_STATUS_FUTURE_LOOKUP: throw future_lookup(message);
    case FOG_STATUS_GOVERNANCE_REFUSED: throw governance_refused(message);
    case FOG_STATUS_UNKNOWN_PEER: throw unknown_peer(message);
    case FOG_STATUS_NOT_UNDERSTOOD: throw not_understood(message);
    case FOG_STATUS_UNKNOWN_GROUP: throw unknown_group(message);
    case FOG_STATUS_NOT_GROUP_CREATOR: throw not_group_creator(message);
    case FOG_STATUS_MESH_BUSY: throw mesh_busy(message);
    case FOG_STATUS_INVALID_MESH_CONTENT: throw invalid_mesh_content(message);
    case FOG_STATUS_UNKNOWN_FILE: throw unknown_file(message);
    case FOG_STATUS_COORDINATOR_UNREACHABLE: throw coordinator_unreachable(message);
    case FOG_STATUS_COORDINATOR_SILENT: throw coordinator_silent(message);
    case FOG_STATUS_INVALID_TOKEN: throw invalid_token(message);
    case FOG_STATUS_TOKEN_EXPIRED: throw token_expired(message);
    case FOG_STATUS_TOKEN_FORBIDS: throw token_forbids(message);
    case FOG_STATUS_TOKEN_USED_UP: throw token_used_up(message);
    case FOG_STATUS_CALL_REFUSED: throw call_refused(message);
    case FOG_STATUS_COORDINATOR_BUSY: throw coordinator_busy(message);
    case FOG_STATUS_INVALID_JOB: throw invalid_job(message);
    case FOG_STATUS_NO_RESULT: throw no_result(message);
    case FOG_STATUS_UNKNOWN_NODE: throw unknown_node(message);
    case FOG_STATUS_INVALID_ANSWER: throw invalid_answer(message);
    }
    throw error(status, message);
}

inline void check(fog_status status) {
    if (status != FOG_STATUS_OK) {
        raise(status, fog_last_error_message());
    }
}

/// The same after a callback may have thrown: its own exception goes first.
inline void check(fog_status status, const std::exception_ptr &thrown) {
    if (thrown) {
        std::rethrow_exception(thrown);
    }
    check(status);
}

template <auto Free>
struct deleter {
    template <class T>
    void operator()(T *handle) const noexcept {
        Free(handle);
    }
};

template <class T, auto Free>
using handle = std::unique_ptr<T, deleter<Free>>;

/// The handle that a call puts into its last argument.
template <class Handle, class Call>
Handle take(Call &&call) {
    typename Handle::pointer raw = nullptr;
    check(call(&raw));
    return Handle(raw);
}

template <class T, class Call>
T fill(Call &&call) {
    T value{};
    check(call(&value));
    return value;
}

inline std::uint64_t nanoseconds(std::chrono::nanoseconds duration) {
    if (duration.count() < 0) {
        throw invalid_argument("a duration is negative");
    }
    return static_cast<std::uint64_t>(duration.count());
}

inline std::uint64_t milliseconds(std::chrono::milliseconds duration) {
    if (duration.count() < 0) {
        throw invalid_argument("a duration is negative");
    }
    return static_cast<std::uint64_t>(duration.count());
}

/// Ends a promise that the library owned: with a value, or with the exception of a status.
template <class T, class Value>
void fulfil(void *user_data, fog_status status, const char *message, Value &&set) noexcept {
    const std::unique_ptr<std::promise<T>> promise(static_cast<std::promise<T> *>(user_data));
    try {
        if (status != FOG_STATUS_OK) {
            raise(status, message);
        }
        set(*promise);
    } catch (...) {
        try {
            promise->set_exception(std::current_exception());
        } catch (...) {
            // The promise is destroyed without a value, which the future reports.
        }
    }
}

} // namespace detail

// ---- bytes ------------------------------------------------------------------------------------

using bytes = std::vector<std::uint8_t>;

/// Bytes that somebody else owns: made from a vector, an array, a string, a span of bytes, or a
/// pointer and a length.
class bytes_view {
public:
    bytes_view() noexcept = default;

    bytes_view(const void *data, std::size_t size) noexcept
        : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}

    template <class Range,
              class Element = std::remove_pointer_t<decltype(std::declval<const Range &>().data())>,
              class = std::enable_if_t<sizeof(Element) == 1 && std::is_trivial_v<Element> &&
                                       !std::is_same_v<Range, bytes_view>>>
    bytes_view(const Range &range) noexcept : bytes_view(range.data(), range.size()) {}

    const std::uint8_t *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    const std::uint8_t *begin() const noexcept { return data_; }
    const std::uint8_t *end() const noexcept { return data_ + size_; }

private:
    const std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
};

/// Bytes that somebody else owns and that are changed in place: made from a vector, an array, a
/// span of bytes, or a pointer and a length.
class bytes_span {
public:
    bytes_span() noexcept = default;

    bytes_span(void *data, std::size_t size) noexcept
        : data_(static_cast<std::uint8_t *>(data)), size_(size) {}

    template <class Range,
              class Element = std::remove_pointer_t<decltype(std::declval<Range &>().data())>,
              class = std::enable_if_t<sizeof(Element) == 1 && std::is_trivial_v<Element> &&
                                       !std::is_const_v<Element> &&
                                       !std::is_same_v<Range, bytes_span>>>
    bytes_span(Range &range) noexcept : bytes_span(range.data(), range.size()) {}

    std::uint8_t *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::uint8_t *begin() const noexcept { return data_; }
    std::uint8_t *end() const noexcept { return data_ + size_; }

private:
    std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
};

/// A public or a private key.
using key_bytes = std::array<std::uint8_t, FOG_KEY_BYTES>;

// ---- Sphinx -----------------------------------------------------------------------------------

/// A node's private mix key. Erased from memory when destroyed.
class private_key {
public:
    /// A new key from the randomness of the operating system.
    static private_key generate() {
        return private_key(detail::take<handle>(fog_private_key_generate));
    }

    /// Takes a key from FOG_KEY_BYTES secret bytes.
    static private_key from_bytes(bytes_view secret) {
        return private_key(detail::take<handle>([&](fog_private_key **out) {
            return fog_private_key_from_bytes(secret.data(), secret.size(), out);
        }));
    }

    /// The secret bytes. Erase them after use.
    key_bytes to_bytes() const {
        key_bytes key{};
        detail::check(fog_private_key_to_bytes(handle_.get(), key.data(), key.size()));
        return key;
    }

    /// The public half.
    key_bytes public_key() const {
        key_bytes key{};
        detail::check(fog_private_key_public_key(handle_.get(), key.data(), key.size()));
        return key;
    }

    const fog_private_key *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_private_key, fog_private_key_free>;
    explicit private_key(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

/// One stop of a route.
struct hop {
    /// The node's identifier, 64 hexadecimal digits.
    std::string node;
    /// The node's public mix key.
    key_bytes key{};
    /// How long the node holds the packet. The last hop does not wait.
    std::chrono::nanoseconds delay{0};
};

/// Hold the packet for `delay`, then send it to `next`.
struct forward {
    std::string next;
    std::chrono::nanoseconds delay{0};
    bytes packet;
};

/// This node is the receiver.
struct deliver {
    bytes payload;
};

/// This node made the reply block by which the packet came.
struct reply {
    /// The block's identifier.
    std::string surb;
    /// What sphinx::open_reply() opens.
    bytes sealed;
};

/// A packet with one layer taken off.
struct processed {
    /// Names the packet at this hop, whatever was done to its bytes: see it twice, drop it.
    std::array<std::uint8_t, 16> replay_tag{};
    /// What to do.
    std::variant<forward, deliver, reply> outcome;
};

/// A packet to be built.
struct order {
    /// The receiver last.
    std::vector<hop> route;
    bytes_view payload;
};

/// A packet of a batch was refused; its bytes are worth nothing.
struct refused {
    fog_status code = FOG_STATUS_OK;

    /// The code's name, the same in every language.
    const char *name() const noexcept { return fog_status_name(code); }
};

/// Hold the packet for `delay`, then send it to `next`. It is in the buffer of the batch.
struct forward_in_place {
    std::string next;
    std::chrono::nanoseconds delay{0};
    bytes_span packet;
};

/// This node is the receiver. The message is in the buffer of the batch.
struct deliver_in_place {
    bytes_span payload;
};

/// This node made the reply block by which the packet came. What sphinx::open_reply() opens is in
/// the buffer of the batch.
struct reply_in_place {
    std::string surb;
    bytes_span sealed;
};

/// What became of one packet of a batch.
struct opened {
    /// Names the packet at this hop, whatever was done to its bytes: see it twice, drop it.
    std::array<std::uint8_t, 16> replay_tag{};
    /// What to do.
    std::variant<refused, forward_in_place, deliver_in_place, reply_in_place> outcome;
};

/// Opens the reply that comes by one reply block. Erased from memory when destroyed.
class reply_key {
public:
    /// The block's identifier, under which the reply arrives.
    std::string id() const {
        return detail::fill<fog_id>(
                   [&](fog_id *out) { return fog_reply_key_id(handle_.get(), out); })
            .text;
    }

    const fog_reply_key *native_handle() const noexcept { return handle_.get(); }

private:
    friend class sphinx;
    using handle = detail::handle<fog_reply_key, fog_reply_key_free>;
    explicit reply_key(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

/// A single-use reply block, which goes to whoever is to reply, and its key, which stays.
struct surb {
    bytes block;
    reply_key key;
};

/// A packet and the node to send it to.
struct addressed_packet {
    /// The first 16 digits of the node's identifier.
    std::string next;
    bytes packet;
};

namespace detail {

/// Hops that point into a route.
inline std::vector<fog_hop> native(const std::vector<hop> &route) {
    std::vector<fog_hop> hops(route.size());
    for (std::size_t i = 0; i < route.size(); i++) {
        hops[i].node = route[i].node.c_str();
        std::copy(route[i].key.begin(), route[i].key.end(), hops[i].key);
        hops[i].delay_ns = nanoseconds(route[i].delay);
    }
    return hops;
}

/// The bytes that a call puts into a buffer.
template <class Call>
bytes fill_bytes(std::size_t capacity, Call &&call) {
    bytes buffer(capacity);
    std::size_t size = 0;
    check(call(buffer.data(), buffer.size(), &size));
    buffer.resize(size);
    return buffer;
}

/// A processed packet from a call that tells of it and puts its content into a buffer.
template <class Call>
processed read_processed(std::size_t capacity, Call &&call) {
    fog_processed told{};
    bytes content = fill_bytes(capacity, [&](std::uint8_t *out, std::size_t size,
                                             std::size_t *len) {
        return call(out, size, len, &told);
    });
    processed result;
    std::copy(std::begin(told.replay_tag), std::end(told.replay_tag), result.replay_tag.begin());
    switch (told.kind) {
    case FOG_PROCESSED_KIND_FORWARD:
        result.outcome =
            forward{told.next, std::chrono::nanoseconds(told.delay_ns), std::move(content)};
        break;
    case FOG_PROCESSED_KIND_DELIVER: result.outcome = deliver{std::move(content)}; break;
    case FOG_PROCESSED_KIND_REPLY:
        result.outcome = reply{told.surb, std::move(content)};
        break;
    }
    return result;
}

/// What a call tells of the packets of a batch.
template <class Call>
std::vector<opened> read_opened(bytes_span packets, std::size_t packet_bytes, Call &&call) {
    std::vector<fog_opened> told(packets.size() / packet_bytes);
    std::size_t count = 0;
    check(call(packets.data(), packets.size(), told.data(), told.size(), &count));
    std::vector<opened> results(count);
    for (std::size_t i = 0; i < count; i++) {
        const fog_opened &one = told[i];
        if (one.status != FOG_STATUS_OK) {
            results[i].outcome = refused{one.status};
            continue;
        }
        std::copy(std::begin(one.replay_tag), std::end(one.replay_tag),
                  results[i].replay_tag.begin());
        const bytes_span content(packets.data() + one.offset, one.length);
        switch (one.kind) {
        case FOG_PROCESSED_KIND_FORWARD:
            results[i].outcome =
                forward_in_place{one.next, std::chrono::nanoseconds(one.delay_ns), content};
            break;
        case FOG_PROCESSED_KIND_DELIVER: results[i].outcome = deliver_in_place{content}; break;
        case FOG_PROCESSED_KIND_REPLY:
            results[i].outcome = reply_in_place{one.surb, content};
            break;
        }
    }
    return results;
}

} // namespace detail

/// Builds and processes Sphinx packets of one network's size.
class sphinx {
public:
    /// Packets that carry up to `payload_bytes` bytes, a multiple of 1024 up to 65536, over up to
    /// `hops_max` hops, 1 to 7.
    explicit sphinx(std::size_t payload_bytes = FOG_SPHINX_PAYLOAD_BYTES,
                    std::size_t hops_max = FOG_SPHINX_HOPS)
        : handle_(detail::take<handle>([&](fog_sphinx **out) {
              return fog_sphinx_with_hops(hops_max, payload_bytes, out);
          })) {}

    /// Most hops of a route.
    std::size_t hops_max() const noexcept { return fog_sphinx_hops_max(handle_.get()); }

    /// Bytes of message one packet carries.
    std::size_t payload_bytes() const noexcept { return fog_sphinx_payload_bytes(handle_.get()); }

    /// Length of every packet.
    std::size_t packet_bytes() const noexcept { return fog_sphinx_packet_bytes(handle_.get()); }

    /// Length of every reply block.
    std::size_t surb_bytes() const noexcept { return fog_sphinx_surb_bytes(handle_.get()); }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    bytes build(const std::vector<hop> &route, bytes_view payload) const {
        const auto hops = detail::native(route);
        return detail::fill_bytes(packet_bytes(), [&](std::uint8_t *out, std::size_t capacity,
                                                      std::size_t *size) {
            return fog_sphinx_build(handle_.get(), hops.data(), hops.size(), payload.data(),
                                    payload.size(), out, capacity, size);
        });
    }

    /// Builds many packets, one after the other in one buffer. That is faster than one by one.
    bytes build_batch(const std::vector<order> &orders) const {
        std::vector<std::vector<fog_hop>> routes;
        std::vector<fog_order> raw;
        for (const auto &each : orders) {
            routes.push_back(detail::native(each.route));
            raw.push_back({routes.back().data(), routes.back().size(), each.payload.data(),
                           each.payload.size()});
        }
        const auto capacity = orders.size() * packet_bytes();
        return detail::fill_bytes(
            capacity, [&](std::uint8_t *out, std::size_t room, std::size_t *size) {
                return fog_sphinx_build_batch(handle_.get(), raw.data(), raw.size(), out, room,
                                              size);
            });
    }

    /// Takes one layer off a packet with this node's key.
    ///
    /// Nothing is remembered: noticing a replay tag that was seen before is for the caller.
    fogcompute::processed process(const private_key &key, bytes_view packet) const {
        return detail::read_processed(
            packet_bytes(), [&](std::uint8_t *out, std::size_t capacity, std::size_t *size,
                                fog_processed *told) {
                return fog_sphinx_process(handle_.get(), key.native_handle(), packet.data(),
                                          packet.size(), out, capacity, size, told);
            });
    }

    /// Takes one layer off each of the packets that stand one after the other in `packets`, in
    /// place. That is faster than one by one. The results point into `packets`.
    std::vector<opened> process_batch(const private_key &key, bytes_span packets) const {
        return detail::read_opened(
            packets, packet_bytes(), [&](std::uint8_t *data, std::size_t size, fog_opened *results,
                                         std::size_t capacity, std::size_t *count) {
                return fog_sphinx_process_batch(handle_.get(), key.native_handle(), data, size,
                                                results, capacity, count);
            });
    }

    /// Makes a single-use reply block whose route ends at its maker.
    surb make_surb(const std::vector<hop> &route) const {
        const auto hops = detail::native(route);
        fog_reply_key *key = nullptr;
        bytes block = detail::fill_bytes(surb_bytes(), [&](std::uint8_t *out, std::size_t capacity,
                                                           std::size_t *size) {
            return fog_sphinx_make_surb(handle_.get(), hops.data(), hops.size(), out, capacity,
                                        size, &key);
        });
        return {std::move(block), reply_key(reply_key::handle(key))};
    }

    /// The packet that carries `payload` back by a reply block. A block works once.
    addressed_packet reply(bytes_view block, bytes_view payload) const {
        fog_node_ref next{};
        bytes packet = detail::fill_bytes(
            packet_bytes(), [&](std::uint8_t *out, std::size_t capacity, std::size_t *size) {
                return fog_sphinx_reply(handle_.get(), block.data(), block.size(), payload.data(),
                                        payload.size(), &next, out, capacity, size);
            });
        return {next.text, std::move(packet)};
    }

    /// Opens the sealed reply that came by a reply block.
    bytes open_reply(const reply_key &key, bytes_view sealed) const {
        return detail::fill_bytes(
            payload_bytes(), [&](std::uint8_t *out, std::size_t capacity, std::size_t *size) {
                return fog_sphinx_open_reply(handle_.get(), key.native_handle(), sealed.data(),
                                             sealed.size(), out, capacity, size);
            });
    }

    const fog_sphinx *native_handle() const noexcept { return handle_.get(); }

private:
    friend class topology;
    using handle = detail::handle<fog_sphinx, fog_sphinx_free>;
    explicit sphinx(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

/// What a sphinx_processor counted since it was made: fog_processor_stats of fogcompute.h.
using processor_stats = fog_processor_stats;

/// Processes the packets of one mix key and remembers them, so that none is processed twice. Of
/// threads that process the same packet, one succeeds.
class sphinx_processor {
public:
    /// A processor with a key that was not used before. Of `packets_max` packets it remembers, 5
    /// bytes each; well beyond that it refuses further ones with `mixnet_busy`.
    sphinx_processor(const sphinx &sizes, const private_key &key, std::size_t packets_max)
        : handle_(detail::take<handle>([&](fog_sphinx_processor **out) {
              return fog_sphinx_processor_new(sizes.native_handle(), key.native_handle(),
                                              packets_max, out);
          })),
          packet_bytes_(sizes.packet_bytes()) {}

    /// The public half of its key.
    key_bytes public_key() const {
        key_bytes key{};
        detail::check(fog_sphinx_processor_public_key(handle_.get(), key.data(), key.size()));
        return key;
    }

    /// Takes one layer off a packet that was not processed before.
    fogcompute::processed process(bytes_view packet) const {
        return detail::read_processed(
            packet_bytes_, [&](std::uint8_t *out, std::size_t capacity, std::size_t *size,
                               fog_processed *told) {
                return fog_sphinx_processor_process(handle_.get(), packet.data(), packet.size(),
                                                    out, capacity, size, told);
            });
    }

    /// What sphinx::process_batch() does, for packets that were not processed before.
    std::vector<opened> process_batch(bytes_span packets) const {
        return detail::read_opened(
            packets, packet_bytes_, [&](std::uint8_t *data, std::size_t size, fog_opened *results,
                                        std::size_t capacity, std::size_t *count) {
                return fog_sphinx_processor_process_batch(handle_.get(), data, size, results,
                                                          capacity, count);
            });
    }

    /// What it counted since it was made.
    processor_stats stats() const {
        return detail::fill<fog_processor_stats>([&](fog_processor_stats *out) {
            return fog_sphinx_processor_stats(handle_.get(), out);
        });
    }

    const fog_sphinx_processor *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_sphinx_processor, fog_sphinx_processor_free>;
    handle handle_;
    std::size_t packet_bytes_;
};

// ---- mixnet -----------------------------------------------------------------------------------

/// Which of two mix keys that are in use side by side is meant.
enum class epoch_parity : std::int32_t {
    even = FOG_EPOCH_PARITY_EVEN,
    odd = FOG_EPOCH_PARITY_ODD,
};

/// What others must know of a mixnode.
struct descriptor {
    /// 64 hexadecimal digits.
    std::string node;
    /// Its public mix key.
    key_bytes key{};
    /// The key's epoch.
    epoch_parity epoch = epoch_parity::even;
    /// Where it listens: an IP address with a port.
    std::string address;
};

/// What a topology says beside who the nodes are.
struct topology_options {
    /// Number of the key epoch.
    std::uint64_t epoch;
    /// From when on it is valid, in milliseconds since 1970.
    std::uint64_t valid_from_ms;
    /// Until when it is valid, not included, in milliseconds since 1970.
    std::uint64_t valid_until_ms;
    /// Most hops of a route, the receiver included, 1 to 7.
    std::size_t hops_max;
    /// Bytes of message one packet carries, a multiple of 1024 up to 65536.
    std::size_t payload_bytes;
    /// How long a mixnode holds a packet in the mean.
    std::chrono::nanoseconds delay_mean;

    /// The usual options.
    topology_options()
        : topology_options(detail::fill<fog_topology_options>(fog_topology_options_default)) {}

    explicit topology_options(const fog_topology_options &raw) noexcept
        : epoch(raw.epoch), valid_from_ms(raw.valid_from_ms), valid_until_ms(raw.valid_until_ms),
          hops_max(raw.hops_max), payload_bytes(raw.payload_bytes),
          delay_mean(raw.delay_mean_ns) {}

    fog_topology_options native() const {
        return {epoch,    valid_from_ms, valid_until_ms,
                hops_max, payload_bytes, detail::nanoseconds(delay_mean)};
    }
};

namespace detail {

template <std::size_t Size>
void copy_text(const std::string &from, char (&to)[Size], const char *name) {
    if (from.size() >= Size) {
        throw invalid_argument(std::string(name) + " is too long");
    }
    std::copy(from.begin(), from.end(), to);
}

inline fog_descriptor native(const descriptor &from) {
    fog_descriptor raw{};
    copy_text(from.node, raw.node, "node");
    std::copy(from.key.begin(), from.key.end(), raw.key);
    raw.epoch = static_cast<std::int32_t>(from.epoch);
    copy_text(from.address, raw.address, "address");
    return raw;
}

inline descriptor read_descriptor(const fog_descriptor &raw) {
    descriptor result{raw.node, {}, static_cast<epoch_parity>(raw.epoch), raw.address};
    std::copy(std::begin(raw.key), std::end(raw.key), result.key.begin());
    return result;
}

} // namespace detail

/// The mixnodes of a network in layers, and what its nodes and clients must agree on.
class topology {
public:
    /// A topology of mixnodes in layers, entry first.
    explicit topology(const std::vector<std::vector<descriptor>> &layers,
                      const topology_options &options = {})
        : handle_(detail::take<handle>([&](fog_topology **out) {
              std::vector<std::vector<fog_descriptor>> nodes;
              std::vector<fog_layer> raw;
              for (const auto &layer : layers) {
                  nodes.emplace_back();
                  for (const auto &each : layer) {
                      nodes.back().push_back(detail::native(each));
                  }
                  raw.push_back({nodes.back().data(), nodes.back().size()});
              }
              const fog_topology_options rest = options.native();
              return fog_topology_new(raw.data(), raw.size(), &rest, out);
          })) {}

    /// Reads a topology that the authority of this public key has signed and that is valid now.
    static topology verify(const std::string &text, bytes_view authority) {
        return topology(text, authority);
    }

    /// The public key to an authority's secret key.
    static key_bytes authority_of(bytes_view secret) {
        key_bytes authority{};
        detail::check(fog_topology_authority(secret.data(), secret.size(), authority.data(),
                                             authority.size()));
        return authority;
    }

    /// As text, signed with an authority's secret key.
    std::string sign(bytes_view secret) const {
        const auto text =
            detail::take<detail::handle<char, fog_string_free>>([&](char **out) {
                return fog_topology_sign(handle_.get(), secret.data(), secret.size(), out);
            });
        return text.get();
    }

    /// What it says beside who the nodes are.
    topology_options options() const {
        return topology_options(
            detail::fill<fog_topology_options>([&](fog_topology_options *out) {
                return fog_topology_options_of(handle_.get(), out);
            }));
    }

    /// Its mixnodes in layers, entry first.
    std::vector<std::vector<descriptor>> layers() const {
        std::vector<std::vector<descriptor>> result(fog_topology_layer_count(handle_.get()));
        for (std::size_t layer = 0; layer < result.size(); layer++) {
            for (std::size_t i = 0; i < fog_topology_node_count(handle_.get(), layer); i++) {
                result[layer].push_back(detail::read_descriptor(
                    detail::fill<fog_descriptor>([&](fog_descriptor *out) {
                        return fog_topology_node(handle_.get(), layer, i, out);
                    })));
            }
        }
        return result;
    }

    /// The builder and processor of its network's packets.
    fogcompute::sphinx sphinx() const {
        return fogcompute::sphinx(
            detail::take<fogcompute::sphinx::handle>([&](fog_sphinx **out) {
                return fog_topology_sphinx(handle_.get(), out);
            }));
    }

    const fog_topology *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_topology, fog_topology_free>;
    topology(const std::string &text, bytes_view authority)
        : handle_(detail::take<handle>([&](fog_topology **out) {
              return fog_topology_verify(text.c_str(), authority.data(), authority.size(), out);
          })) {}
    handle handle_;
};

/// What a mixnode, or a client's sockets and links, counted: fog_engine_stats of fogcompute.h.
using engine_stats = fog_engine_stats;

/// How a mixnode is made.
struct mixnet_node_config {
    /// The UDP address it listens on; port 0 is any that is free.
    std::string listen;
    /// Where others reach it, if that is not where it listens.
    std::optional<std::string> address;
    /// The secret key of its identity, if that is not a new one.
    std::optional<key_bytes> identity;
    /// The epoch its mix key is of.
    std::uint64_t epoch;
    /// Most hops of a route in the network, 1 to 7.
    std::size_t hops_max;
    /// Bytes of message one packet of the network carries: a multiple of 1024 up to 64512, for the
    /// packets must fit datagrams.
    std::size_t payload_bytes;
    /// Threads that process packets; 0 is one for each processor.
    std::size_t workers;
    /// Packets of the mix key there is room for, 5 bytes each.
    std::size_t replay_tags_max;

    /// The usual configuration.
    mixnet_node_config() {
        const auto usual = detail::fill<fog_mixnet_node_config>(fog_mixnet_node_config_default);
        listen = usual.listen;
        epoch = usual.epoch;
        hops_max = usual.hops_max;
        payload_bytes = usual.payload_bytes;
        workers = usual.workers;
        replay_tags_max = usual.replay_tags_max;
    }
};

/// A mixnode that runs on threads of this program, over UDP.
///
/// It relays for everybody who opens a link to it, as soon as it knows the network: start the
/// mixnodes, put their descriptors into a topology, and give that to each of them.
class mixnet_node {
public:
    /// Starts a mixnode that knows no other yet.
    explicit mixnet_node(const mixnet_node_config &config = {})
        : handle_(detail::take<handle>([&](fog_mixnet_node **out) {
              fog_mixnet_node_config raw{};
              raw.listen = config.listen.c_str();
              raw.address = config.address ? config.address->c_str() : nullptr;
              if (config.identity) {
                  raw.identity = config.identity->data();
                  raw.identity_len = config.identity->size();
              }
              raw.epoch = config.epoch;
              raw.hops_max = config.hops_max;
              raw.payload_bytes = config.payload_bytes;
              raw.workers = config.workers;
              raw.replay_tags_max = config.replay_tags_max;
              return fog_mixnet_node_start(&raw, out);
          })) {}

    /// What others must know of it.
    fogcompute::descriptor descriptor() const {
        return detail::read_descriptor(detail::fill<fog_descriptor>([&](fog_descriptor *out) {
            return fog_mixnet_node_descriptor(handle_.get(), out);
        }));
    }

    /// Tells it of the other mixnodes.
    void set_topology(const topology &network) const {
        detail::check(fog_mixnet_node_set_topology(handle_.get(), network.native_handle()));
    }

    /// What it counted since its start.
    engine_stats stats() const {
        return detail::fill<fog_engine_stats>(
            [&](fog_engine_stats *out) { return fog_mixnet_node_stats(handle_.get(), out); });
    }

    /// Takes no further packets, sends what is held when it is due, and ends. Waits until then,
    /// `within` at most. Returns what it counted.
    engine_stats drain(std::chrono::nanoseconds within) const {
        const auto within_ns = detail::nanoseconds(within);
        return detail::fill<fog_engine_stats>([&](fog_engine_stats *out) {
            return fog_mixnet_node_drain(handle_.get(), within_ns, out);
        });
    }

    /// Ends it at once; what it holds is lost. Closing again does nothing.
    void close() const { detail::check(fog_mixnet_node_close(handle_.get())); }

    const fog_mixnet_node *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_mixnet_node, fog_mixnet_node_free>;
    handle handle_;
};

/// How a device is powered.
enum class power_class : std::int32_t {
    mains = FOG_POWER_CLASS_MAINS,
    battery = FOG_POWER_CLASS_BATTERY,
    low_battery = FOG_POWER_CLASS_LOW_BATTERY,
};

/// What a client counted since its start: fog_client_stats of fogcompute.h.
using client_stats = fog_client_stats;

/// How a client is made.
struct mixnet_client_config {
    /// The UDP address it sends from; port 0 is any that is free.
    std::string listen;
    /// The secret key of its identity, if that is not a new one.
    std::optional<key_bytes> identity;
    /// Mean time between two loops of cover traffic on the mains; 0 for none.
    std::chrono::nanoseconds cover_loops;
    /// Mean time between two drops of cover traffic on the mains; 0 for none.
    std::chrono::nanoseconds cover_drops;
    /// Messages that wait to be received. When reached, senders must send further ones again.
    std::size_t inbox_messages_max;

    /// The usual configuration.
    mixnet_client_config() {
        const auto usual =
            detail::fill<fog_mixnet_client_config>(fog_mixnet_client_config_default);
        listen = usual.listen;
        cover_loops = std::chrono::nanoseconds(usual.cover_loops_ns);
        cover_drops = std::chrono::nanoseconds(usual.cover_drops_ns);
        inbox_messages_max = usual.inbox_messages_max;
    }
};

/// A message that came in.
class mixnet_message {
public:
    /// The sender's identifier of the message.
    std::string id() const {
        return detail::fill<fog_id>(
                   [&](fog_id *out) { return fog_mixnet_message_id(handle_.get(), out); })
            .text;
    }

    /// The message, as long as this object lives.
    bytes_view body() const noexcept {
        return {fog_mixnet_message_data(handle_.get()), fog_mixnet_message_len(handle_.get())};
    }

    /// Packets its answer may have. 0 if it wants none.
    std::size_t reply_blocks() const noexcept {
        return fog_mixnet_message_reply_blocks(handle_.get());
    }

    const fog_mixnet_message *native_handle() const noexcept { return handle_.get(); }

private:
    friend class mixnet_client;
    using handle = detail::handle<fog_mixnet_message, fog_mixnet_message_free>;
    explicit mixnet_message(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

/// What to answer a message with that came to a client before.
class reply_blocks {
public:
    /// How many there are: packets an answer may have.
    std::size_t count() const noexcept { return fog_reply_blocks_count(handle_.get()); }

    const fog_reply_blocks *native_handle() const noexcept { return handle_.get(); }

private:
    friend class mixnet_client;
    using handle = detail::handle<fog_reply_blocks, fog_reply_blocks_free>;
    explicit reply_blocks(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

namespace detail {

inline bytes read_answer(const fog_mixnet_answer *from) {
    const std::uint8_t *data = fog_mixnet_answer_data(from);
    return bytes(data, data + fog_mixnet_answer_len(from));
}

inline void on_sent(void *user_data, fog_status status, const char *message) noexcept {
    fulfil<void>(user_data, status, message,
                 [](std::promise<void> &promise) { promise.set_value(); });
}

inline void on_answered(void *user_data, fog_status status, const fog_mixnet_answer *answer,
                        const char *message) noexcept {
    fulfil<bytes>(user_data, status, message, [&](std::promise<bytes> &promise) {
        promise.set_value(read_answer(answer));
    });
}

/// The future of a call that takes a promise with it if it succeeds.
template <class T, class Call>
std::future<T> promised(Call &&call) {
    auto promise = std::make_unique<std::promise<T>>();
    auto result = promise->get_future();
    check(call(promise.get()));
    // Accepted: the callback destroys the promise, and may have done so already.
    static_cast<void>(promise.release());
    return result;
}

} // namespace detail

/// Sends and receives messages through a mixnet, over UDP. Destroying it ends what is waited for
/// with `closed`.
///
/// There is no gateway: the client is the last hop itself.
class mixnet_client {
public:
    /// Starts a client of a network.
    explicit mixnet_client(const topology &network, const mixnet_client_config &config = {})
        : handle_(detail::take<handle>([&](fog_mixnet_client **out) {
              const auto raw = native(config);
              return fog_mixnet_client_start(network.native_handle(), &raw, out);
          })) {}

    /// Starts a client that goes on where another one was suspended under this key. In the epoch of
    /// that client it has the same contact. The configuration need not say the identity.
    ///
    /// Open each state once: of two clients from one state, the mixnodes drop the second use of a
    /// reply block as a replay. A state that does not open with this key is `storage_corrupt`.
    static mixnet_client restore(const topology &network, bytes_view state, bytes_view key,
                                 const mixnet_client_config &config = {}) {
        return mixnet_client(detail::take<handle>([&](fog_mixnet_client **out) {
            const auto raw = native(config);
            return fog_mixnet_client_restore(network.native_handle(), &raw, state.data(),
                                             state.size(), key.data(), key.size(), out);
        }));
    }

    /// What others need to send it messages. It is another one with each epoch, and with each start
    /// that does not restore the client.
    std::string contact() const {
        return detail::fill<fog_contact>([&](fog_contact *out) {
                   return fog_mixnet_client_contact(handle_.get(), out);
               }).text;
    }

    /// Sends a message and waits until the receiver has acknowledged all of it. Returns whether
    /// that was in time; if not, it is sent further.
    bool send(const std::string &to, bytes_view body, std::chrono::nanoseconds timeout) const {
        const auto timeout_ns = detail::nanoseconds(timeout);
        return detail::fill<bool>([&](bool *delivered) {
            return fog_mixnet_client_send(handle_.get(), to.c_str(), body.data(), body.size(),
                                          timeout_ns, nullptr, delivered);
        });
    }

    /// Sends a message and returns at once. The future ends when the receiver has acknowledged all
    /// of it, or when it is given up; who does not want to know may drop it.
    std::future<void> send_async(const std::string &to, bytes_view body) const {
        return detail::promised<void>([&](void *promise) {
            return fog_mixnet_client_send_async(handle_.get(), to.c_str(), body.data(),
                                                body.size(), detail::on_sent, promise, nullptr);
        });
    }

    /// Sends a message that asks for an answer of at most `answer_bytes_max` bytes, rounded up to
    /// what whole packets carry, and waits for it.
    bytes request(const std::string &to, bytes_view body, std::size_t answer_bytes_max,
                  std::chrono::nanoseconds within) const {
        const auto within_ns = detail::nanoseconds(within);
        const auto answer = detail::take<answer_handle>([&](fog_mixnet_answer **out) {
            return fog_mixnet_client_request(handle_.get(), to.c_str(), body.data(), body.size(),
                                             answer_bytes_max, within_ns, out);
        });
        return detail::read_answer(answer.get());
    }

    /// The same, but returns at once.
    std::future<bytes> request_async(const std::string &to, bytes_view body,
                                     std::size_t answer_bytes_max,
                                     std::chrono::nanoseconds within) const {
        const auto within_ns = detail::nanoseconds(within);
        return detail::promised<bytes>([&](void *promise) {
            return fog_mixnet_client_request_async(handle_.get(), to.c_str(), body.data(),
                                                   body.size(), answer_bytes_max, within_ns,
                                                   detail::on_answered, promise);
        });
    }

    /// So many different mixnodes for a route, one of each layer in turn, at random.
    std::vector<std::string> choose_nodes(std::size_t hops) const {
        // Before there is room for them: a packet has room for no more.
        if (hops > FOG_SPHINX_HOPS) {
            throw invalid_route("a route has at most " + std::to_string(FOG_SPHINX_HOPS) +
                                " hops");
        }
        std::vector<fog_node_id> nodes(hops);
        detail::check(fog_mixnet_client_choose_nodes(handle_.get(), hops, nodes.data()));
        std::vector<std::string> result;
        for (const auto &node : nodes) {
            result.push_back(node.text);
        }
        return result;
    }

    /// Sends a message, once and without asking for an acknowledgement, over these mixnodes in this
    /// order. Returns the message's identifier.
    std::string send_through(const std::vector<std::string> &nodes, const std::string &to,
                             bytes_view body) const {
        std::vector<fog_node_id> raw(nodes.size());
        for (std::size_t i = 0; i < nodes.size(); i++) {
            detail::copy_text(nodes[i], raw[i].text, "node");
        }
        return detail::fill<fog_id>([&](fog_id *out) {
                   return fog_mixnet_client_send_through(handle_.get(), raw.data(), raw.size(),
                                                         to.c_str(), body.data(), body.size(),
                                                         out);
               }).text;
    }

    /// The next message that came in. Waits for it if there is none; nothing if none came in time.
    std::optional<mixnet_message> receive(std::chrono::nanoseconds timeout) const {
        const auto timeout_ns = detail::nanoseconds(timeout);
        auto message =
            detail::take<mixnet_message::handle>([&](fog_mixnet_message **out) {
                return fog_mixnet_client_receive(handle_.get(), timeout_ns, out);
            });
        if (!message) {
            return std::nullopt;
        }
        return mixnet_message(std::move(message));
    }

    /// Answers a message, once.
    void reply(const mixnet_message &message, bytes_view body) const {
        detail::check(fog_mixnet_client_reply(handle_.get(), message.native_handle(), body.data(),
                                              body.size()));
    }

    /// Identifiers of messages that came to the client before this one and were not answered, less
    /// what was taken since.
    std::vector<std::string> restored_messages() const {
        return restored(fog_mixnet_client_restored_messages);
    }

    /// Identifiers of requests that the client before this one made and that were not answered,
    /// less what was taken since.
    std::vector<std::string> restored_requests() const {
        return restored(fog_mixnet_client_restored_requests);
    }

    /// What to answer a message with that came to the client before this one, once. Nothing if it
    /// was answered, wants no answer, or came before the last epoch.
    std::optional<fogcompute::reply_blocks> reply_blocks(const std::string &message) const {
        auto blocks =
            detail::take<fogcompute::reply_blocks::handle>([&](fog_reply_blocks **out) {
                return fog_mixnet_client_reply_blocks(handle_.get(), message.c_str(), out);
            });
        if (!blocks) {
            return std::nullopt;
        }
        return fogcompute::reply_blocks(std::move(blocks));
    }

    /// Answers a message that came to the client before this one, once.
    void reply_with(const fogcompute::reply_blocks &blocks, bytes_view body) const {
        detail::check(fog_mixnet_client_reply_with(handle_.get(), blocks.native_handle(),
                                                   body.data(), body.size()));
    }

    /// Waits for the answer to a request that the client before this one made, once. It may be
    /// there already.
    bytes answer_to(const std::string &request, std::chrono::nanoseconds within) const {
        const auto within_ns = detail::nanoseconds(within);
        const auto answer = detail::take<answer_handle>([&](fog_mixnet_answer **out) {
            return fog_mixnet_client_answer_to(handle_.get(), request.c_str(), within_ns, out);
        });
        return detail::read_answer(answer.get());
    }

    /// The same, but returns at once.
    std::future<bytes> answer_to_async(const std::string &request,
                                       std::chrono::nanoseconds within) const {
        const auto within_ns = detail::nanoseconds(within);
        return detail::promised<bytes>([&](void *promise) {
            return fog_mixnet_client_answer_to_async(handle_.get(), request.c_str(), within_ns,
                                                     detail::on_answered, promise);
        });
    }

    /// Goes on with another topology of the network.
    void set_topology(const topology &network) const {
        detail::check(fog_mixnet_client_set_topology(handle_.get(), network.native_handle()));
    }

    /// Sends cover traffic as a device so powered should.
    void set_power(power_class power) const {
        detail::check(
            fog_mixnet_client_set_power(handle_.get(), static_cast<std::int32_t>(power)));
    }

    /// What it counted since its start.
    client_stats stats() const {
        return detail::fill<fog_client_stats>(
            [&](fog_client_stats *out) { return fog_mixnet_client_stats(handle_.get(), out); });
    }

    /// Ends it as close() does, and returns what one after it needs to go on, sealed under a key of
    /// FOG_KEY_BYTES random bytes; keep both for restore().
    ///
    /// In it are the identity, the mix keys, the reply blocks of messages that were not answered
    /// and not destroyed, and the keys for answers that were asked for and did not come. A reply
    /// block is good for five minutes, a stop included, and no longer than the epoch after its own.
    bytes suspend(bytes_view key) const {
        const auto state =
            detail::take<detail::handle<fog_mixnet_state, fog_mixnet_state_free>>(
                [&](fog_mixnet_state **out) {
                    return fog_mixnet_client_suspend(handle_.get(), key.data(), key.size(), out);
                });
        const std::uint8_t *data = fog_mixnet_state_data(state.get());
        return bytes(data, data + fog_mixnet_state_len(state.get()));
    }

    /// Ends it: what was asked for ends with `closed`, messages that came in can still be received.
    /// Closing again does nothing.
    void close() const { detail::check(fog_mixnet_client_close(handle_.get())); }

    const fog_mixnet_client *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_mixnet_client, fog_mixnet_client_free>;
    using answer_handle = detail::handle<fog_mixnet_answer, fog_mixnet_answer_free>;

    explicit mixnet_client(handle raw) noexcept : handle_(std::move(raw)) {}

    /// As long as the configuration lives.
    static fog_mixnet_client_config native(const mixnet_client_config &config) {
        fog_mixnet_client_config raw{};
        raw.listen = config.listen.c_str();
        if (config.identity) {
            raw.identity = config.identity->data();
            raw.identity_len = config.identity->size();
        }
        raw.cover_loops_ns = detail::nanoseconds(config.cover_loops);
        raw.cover_drops_ns = detail::nanoseconds(config.cover_drops);
        raw.inbox_messages_max = config.inbox_messages_max;
        return raw;
    }

    std::vector<std::string> restored(fog_status (*which)(const fog_mixnet_client *, fog_id *,
                                                          std::size_t, std::size_t *)) const {
        std::size_t count = 0;
        const fog_status asked = which(handle_.get(), nullptr, 0, &count);
        if (asked != FOG_STATUS_BUFFER_TOO_SMALL) {
            detail::check(asked);
        }
        // There can be fewer by now, but not more.
        std::vector<fog_id> ids(count);
        detail::check(which(handle_.get(), ids.data(), count, &count));
        std::vector<std::string> result;
        for (std::size_t i = 0; i < count; i++) {
            result.push_back(ids[i].text);
        }
        return result;
    }

    handle handle_;
};

// ---- optimisation -----------------------------------------------------------------------------

/// A real number from `low` to `high`, both inclusive.
struct real {
    double low = 0;
    double high = 0;
};

/// A whole number from `low` to `high`, both inclusive, where near values act alike.
struct integer {
    std::int64_t low = 0;
    std::int64_t high = 0;
};

/// One of `count` things without an order, as its index from 0.
struct choice {
    std::uint32_t count = 0;
};

/// What a gene may be. Genes are doubles; integers and choices are whole numbers.
using variable = std::variant<real, integer, choice>;

/// What a genome is worth.
struct evaluation {
    /// One value for each objective, smaller being better.
    std::vector<double> objectives;
    /// By how much constraints are violated in total; 0 when all are met.
    double violation = 0;
};

/// A generation: matrices with a row for each genome.
struct generation {
    const double *genes;
    std::size_t count;
    std::size_t gene_count;
    /// Not a number until they are written.
    double *objectives;
    std::size_t objective_count;
    /// By how much the constraints of each are violated in total; 0 until written.
    double *violations;
};

/// What to optimise.
struct problem {
    std::vector<variable> variables;
    std::size_t objective_count = 0;
    /// Evaluates one genome. It runs on the thread that called minimize(). What it throws stops the
    /// search and comes out of it.
    std::function<evaluation(const std::vector<double> &genes)> evaluate = nullptr;
    /// Evaluates a generation at once, in place of `evaluate`.
    std::function<void(const generation &)> evaluate_all = nullptr;
    /// In place of variables: how many things the genes put into an order, each being the index of
    /// one.
    std::size_t permutation = 0;
};

/// Parameters of a placement by NSGA-II.
struct nsga2_config {
    std::uint32_t population;
    std::uint32_t generations;
    double crossover_probability;
    double crossover_eta;
    /// Without it, one gene in each child mutates on average.
    std::optional<double> mutation_probability;
    double mutation_eta;

    /// The usual parameters.
    nsga2_config() {
        const auto usual = detail::fill<fog_nsga2_config>(fog_nsga2_config_default);
        population = usual.population;
        generations = usual.generations;
        crossover_probability = usual.crossover_probability;
        crossover_eta = usual.crossover_eta;
        if (usual.has_mutation_probability) {
            mutation_probability = usual.mutation_probability;
        }
        mutation_eta = usual.mutation_eta;
    }

    fog_nsga2_config native() const noexcept {
        fog_nsga2_config config{};
        config.population = population;
        config.generations = generations;
        config.crossover_probability = crossover_probability;
        config.crossover_eta = crossover_eta;
        config.has_mutation_probability = mutation_probability.has_value();
        config.mutation_probability = mutation_probability.value_or(0);
        config.mutation_eta = mutation_eta;
        return config;
    }
};

/// Those whose neighbours are far survive: NSGA-II, good for two objectives.
struct crowding {};

/// Those near to directions with few others survive: NSGA-III, for three objectives or more.
struct directions {
    /// One component for each objective; see reference_directions().
    std::vector<std::vector<double>> directions;
};

/// Those that add hypervolume survive: SMS-EMOA with whole generations, for up to five objectives.
struct by_hypervolume {};

/// When a search that finds no more is given up.
struct stagnation {
    std::uint32_t generations = 0;
    /// Share by which the hypervolume must grow to count as progress.
    double tolerance = 0;
};

/// How a search goes.
struct search_config {
    std::variant<crowding, directions, by_hypervolume> selection;
    std::uint32_t population;
    std::uint32_t generations;
    /// No generation begins that would go beyond so many evaluations.
    std::optional<std::uint64_t> evaluations_max;
    std::optional<fogcompute::stagnation> stagnation;
    double crossover_probability;
    double crossover_eta;
    /// Without it, a child has one change on average.
    std::optional<double> mutation_probability;
    double mutation_eta;

    /// The usual: NSGA-II.
    search_config() {
        const auto usual = detail::fill<fog_search_config>(fog_search_config_default);
        population = usual.population;
        generations = usual.generations;
        crossover_probability = usual.crossover_probability;
        crossover_eta = usual.crossover_eta;
        mutation_eta = usual.mutation_eta;
    }
};

/// A solution and what it is worth.
struct individual {
    std::vector<double> genes;
    std::vector<double> objectives;
    double violation = 0;
};

/// The solutions that no other dominates, in lexicographic order of their objectives.
struct front {
    std::vector<individual> individuals;
    std::uint64_t evaluations = 0;
    std::uint32_t generations = 0;
};

/// Why a search ended.
enum class ended : std::int32_t {
    not_yet = FOG_ENDED_NOT_YET,
    generations = FOG_ENDED_GENERATIONS,
    evaluations = FOG_ENDED_EVALUATIONS,
    stagnation = FOG_ENDED_STAGNATION,
};

namespace detail {

struct evaluation_call {
    const problem *what;
    std::exception_ptr thrown;

    static std::int32_t run(void *user_data, const double *genes, std::size_t count,
                            std::size_t gene_count, double *objectives,
                            std::size_t objective_count, double *violations) noexcept {
        auto &call = *static_cast<evaluation_call *>(user_data);
        try {
            const generation all{genes, count, gene_count, objectives, objective_count, violations};
            if (call.what->evaluate_all) {
                call.what->evaluate_all(all);
                return 0;
            }
            std::vector<double> genome;
            for (std::size_t i = 0; i < count; i++) {
                genome.assign(genes + i * gene_count, genes + (i + 1) * gene_count);
                const evaluation worth = call.what->evaluate(genome);
                if (worth.objectives.size() != objective_count) {
                    throw invalid_problem("an evaluation has another number of objectives");
                }
                std::copy(worth.objectives.begin(), worth.objectives.end(),
                          objectives + i * objective_count);
                violations[i] = worth.violation;
            }
            return 0;
        } catch (...) {
            call.thrown = std::current_exception();
            return 1;
        }
    }
};

inline fog_variable native(const variable &any) noexcept {
    fog_variable raw{};
    if (const auto *number = std::get_if<real>(&any)) {
        raw.kind = FOG_VARIABLE_KIND_REAL;
        raw.low = number->low;
        raw.high = number->high;
    } else if (const auto *whole = std::get_if<integer>(&any)) {
        raw.kind = FOG_VARIABLE_KIND_INTEGER;
        raw.integer_low = whole->low;
        raw.integer_high = whole->high;
    } else if (const auto *one_of = std::get_if<choice>(&any)) {
        raw.kind = FOG_VARIABLE_KIND_CHOICE;
        raw.count = one_of->count;
    }
    return raw;
}

/// Numbers row after row. Rows of another length than `columns` are refused.
inline std::vector<double> rows(const std::vector<std::vector<double>> &matrix,
                                std::size_t columns, const char *what) {
    std::vector<double> numbers;
    for (const auto &row : matrix) {
        if (row.size() != columns) {
            throw invalid_problem(std::string(what) + " has another length than the problem asks for");
        }
        numbers.insert(numbers.end(), row.begin(), row.end());
    }
    return numbers;
}

/// A problem as the library reads it, with what it points to.
class native_problem {
public:
    explicit native_problem(const problem &what) : call_{&what, nullptr} {
        if (!what.evaluate && !what.evaluate_all) {
            throw invalid_argument("the problem has no evaluate");
        }
        for (const auto &any : what.variables) {
            variables_.push_back(native(any));
        }
        raw_.variables = variables_.data();
        raw_.variable_count = variables_.size();
        if (what.permutation > 0) {
            raw_.is_permutation = true;
            raw_.variable_count = what.permutation;
        }
        raw_.objective_count = what.objective_count;
        raw_.evaluate = evaluation_call::run;
        raw_.user_data = &call_;
    }

    native_problem(const native_problem &) = delete;
    native_problem &operator=(const native_problem &) = delete;

    const fog_problem *raw() const noexcept { return &raw_; }
    std::exception_ptr &thrown() noexcept { return call_.thrown; }

private:
    evaluation_call call_;
    std::vector<fog_variable> variables_;
    fog_problem raw_{};
};

/// A configuration as the library reads it, with what it points to.
class native_search_config {
public:
    native_search_config(const search_config &config, std::size_t objective_count) {
        raw_ = fill<fog_search_config>(fog_search_config_default);
        if (const auto *given = std::get_if<directions>(&config.selection)) {
            directions_ = rows(given->directions, objective_count, "a direction");
            raw_.selection = FOG_SELECTION_DIRECTIONS;
            raw_.directions = directions_.data();
            raw_.direction_count = given->directions.size();
        } else if (std::holds_alternative<by_hypervolume>(config.selection)) {
            raw_.selection = FOG_SELECTION_HYPERVOLUME;
        }
        raw_.population = config.population;
        raw_.generations = config.generations;
        raw_.has_evaluations_max = config.evaluations_max.has_value();
        raw_.evaluations_max = config.evaluations_max.value_or(0);
        raw_.has_stagnation = config.stagnation.has_value();
        if (config.stagnation) {
            raw_.stagnation_generations = config.stagnation->generations;
            raw_.stagnation_tolerance = config.stagnation->tolerance;
        }
        raw_.crossover_probability = config.crossover_probability;
        raw_.crossover_eta = config.crossover_eta;
        raw_.has_mutation_probability = config.mutation_probability.has_value();
        raw_.mutation_probability = config.mutation_probability.value_or(0);
        raw_.mutation_eta = config.mutation_eta;
    }

    native_search_config(const native_search_config &) = delete;
    native_search_config &operator=(const native_search_config &) = delete;

    const fog_search_config *raw() const noexcept { return &raw_; }

private:
    std::vector<double> directions_;
    fog_search_config raw_{};
};

/// How many points the values are.
inline std::size_t point_count(const std::vector<double> &points, std::size_t objective_count) {
    if (objective_count == 0 || points.size() % objective_count != 0) {
        throw invalid_argument("the values are no points of so many objectives");
    }
    return points.size() / objective_count;
}

inline front read_front(const fog_front *found) {
    front result;
    result.evaluations = fog_front_evaluations(found);
    result.generations = fog_front_generations(found);
    for (std::size_t i = 0; i < fog_front_size(found); i++) {
        const auto one = fill<fog_individual>(
            [&](fog_individual *each) { return fog_front_individual(found, i, each); });
        result.individuals.push_back({{one.genes, one.genes + one.gene_count},
                                      {one.objectives, one.objectives + one.objective_count},
                                      one.violation});
    }
    return result;
}

} // namespace detail

/// Minimises the objectives of a problem. One seed gives one front, on every platform.
///
/// `initial` holds genomes to start from; the rest of the first population is random.
inline front minimize(const problem &what, const search_config &config = {},
                      const std::vector<std::vector<double>> &initial = {},
                      std::uint64_t seed = 0) {
    detail::native_problem native(what);
    const detail::native_search_config parameters(config, what.objective_count);
    const auto genes = detail::rows(initial, native.raw()->variable_count, "a first genome");
    fog_front *out = nullptr;
    const fog_status status = fog_minimize(native.raw(), parameters.raw(), genes.data(),
                                           initial.size(), seed, &out);
    const detail::handle<fog_front, fog_front_free> found(out);
    detail::check(status, native.thrown());
    return detail::read_front(found.get());
}

/// minimize() for those who want to look at each generation, end early or go on later.
class search {
public:
    /// Makes and evaluates the first population; the arguments are those of minimize().
    explicit search(problem what, const search_config &config = {},
                    const std::vector<std::vector<double>> &initial = {}, std::uint64_t seed = 0)
        : problem_(std::move(what)) {
        detail::native_problem native(problem_);
        const detail::native_search_config parameters(config, problem_.objective_count);
        const auto genes = detail::rows(initial, native.raw()->variable_count, "a first genome");
        fog_search *out = nullptr;
        const fog_status status = fog_search_start(native.raw(), parameters.raw(), genes.data(),
                                                   initial.size(), seed, &out);
        handle_ = handle(out);
        detail::check(status, native.thrown());
    }

    /// Goes on with a search that save() saved, as if nothing had happened. The problem and the
    /// configuration must be the same; only for how long the search goes may differ.
    static search resume(problem what, const search_config &config,
                         const std::vector<std::uint8_t> &state) {
        search resumed(std::move(what), nullptr);
        detail::native_problem native(resumed.problem_);
        const detail::native_search_config parameters(config, resumed.problem_.objective_count);
        fog_search *out = nullptr;
        detail::check(fog_search_resume(native.raw(), parameters.raw(), state.data(), state.size(),
                                        &out));
        resumed.handle_ = handle(out);
        return resumed;
    }

    /// Makes one generation, even beyond what the configuration allows. When it throws, the
    /// population is the one before.
    void step() {
        detail::native_problem native(problem_);
        const fog_status status = fog_search_step(handle_.get(), native.raw());
        detail::check(status, native.thrown());
    }

    /// Whether the configuration ends the search here.
    fogcompute::ended ended() const noexcept {
        return static_cast<fogcompute::ended>(fog_search_ended(handle_.get()));
    }

    /// The population. Its arrays are valid until the search goes on.
    fog_population population() const {
        return detail::fill<fog_population>(
            [&](fog_population *out) { return fog_search_population(handle_.get(), out); });
    }

    /// The solutions of the population that no other dominates.
    fogcompute::front front() const {
        fog_front *out = nullptr;
        detail::check(fog_search_front(handle_.get(), &out));
        const detail::handle<fog_front, fog_front_free> found(out);
        return detail::read_front(found.get());
    }

    /// The search as bytes, for resume().
    std::vector<std::uint8_t> save() const {
        std::size_t length = 0;
        fog_search_save(handle_.get(), nullptr, 0, &length);
        std::vector<std::uint8_t> state(length);
        detail::check(fog_search_save(handle_.get(), state.data(), state.size(), &length));
        return state;
    }

private:
    using handle = detail::handle<fog_search, fog_search_free>;
    search(problem what, std::nullptr_t) : problem_(std::move(what)), handle_(nullptr) {}

    problem problem_;
    handle handle_{nullptr};
};

/// The rank of each point: 0 where no other dominates it, 1 where only points of rank 0 do.
/// `points` are one after another, of `objective_count` values each. All are minimised.
inline std::vector<std::uint32_t> non_dominated_sort(const std::vector<double> &points,
                                                     std::size_t objective_count) {
    const std::size_t count = detail::point_count(points, objective_count);
    std::vector<std::uint32_t> ranks(count);
    detail::check(fog_non_dominated_sort(points.data(), count, objective_count, ranks.data()));
    return ranks;
}

/// The volume that points dominate up to `reference`, exactly, for up to five objectives.
inline double hypervolume(const std::vector<double> &points, const std::vector<double> &reference) {
    const std::size_t count = detail::point_count(points, reference.size());
    return detail::fill<double>([&](double *out) {
        return fog_hypervolume(points.data(), count, reference.size(), reference.data(), out);
    });
}

/// The mean distance from the points of a known front to the nearest of `points`: less is better.
inline double igd(const std::vector<double> &points, const std::vector<double> &known,
                  std::size_t objective_count) {
    const std::size_t count = detail::point_count(points, objective_count);
    const std::size_t known_count = detail::point_count(known, objective_count);
    return detail::fill<double>([&](double *out) {
        return fog_igd(points.data(), count, known.data(), known_count, objective_count, out);
    });
}

/// As igd(), where only that counts by which points are worse than known ones.
inline double igd_plus(const std::vector<double> &points, const std::vector<double> &known,
                       std::size_t objective_count) {
    const std::size_t count = detail::point_count(points, objective_count);
    const std::size_t known_count = detail::point_count(known, objective_count);
    return detail::fill<double>([&](double *out) {
        return fog_igd_plus(points.data(), count, known.data(), known_count, objective_count, out);
    });
}

/// The standard deviation of the distances between neighbours (Schott): 0 when all are alike.
inline double spacing(const std::vector<double> &points, std::size_t objective_count) {
    const std::size_t count = detail::point_count(points, objective_count);
    return detail::fill<double>([&](double *out) {
        return fog_spacing(points.data(), count, objective_count, out);
    });
}

/// How unevenly points are spread between `ends`, the ends of the known front.
inline double spread(const std::vector<double> &points, const std::vector<double> &ends,
                     std::size_t objective_count) {
    const std::size_t count = detail::point_count(points, objective_count);
    const std::size_t end_count = detail::point_count(ends, objective_count);
    return detail::fill<double>([&](double *out) {
        return fog_spread(points.data(), count, ends.data(), end_count, objective_count, out);
    });
}

/// Directions for NSGA-III, evenly spread over the simplex (Das and Dennis).
inline std::vector<std::vector<double>> reference_directions(std::size_t objective_count,
                                                             std::uint32_t divisions) {
    std::size_t count = 0;
    const fog_status asked = fog_reference_directions(objective_count, divisions, nullptr, 0, &count);
    if (asked != FOG_STATUS_BUFFER_TOO_SMALL) {
        detail::check(asked);
    }
    std::vector<double> components(count * objective_count);
    detail::check(fog_reference_directions(objective_count, divisions, components.data(), count,
                                           &count));
    std::vector<std::vector<double>> found;
    for (std::size_t i = 0; i < count; i++) {
        const auto first = components.begin() + static_cast<std::ptrdiff_t>(i * objective_count);
        found.emplace_back(first, first + static_cast<std::ptrdiff_t>(objective_count));
    }
    return found;
}

// ---- placement --------------------------------------------------------------------------------

/// How urgent something is.
enum class priority : std::int32_t {
    critical = FOG_PRIORITY_CRITICAL,
    high = FOG_PRIORITY_HIGH,
    normal = FOG_PRIORITY_NORMAL,
    low = FOG_PRIORITY_LOW,
    bulk = FOG_PRIORITY_BULK,
};

/// How jobs share a node.
enum class sharing : std::int32_t {
    /// All jobs run at once: together they must fit what is free.
    concurrent = FOG_SHARING_CONCURRENT,
    /// Jobs queue: each alone must fit what is free.
    queued = FOG_SHARING_QUEUED,
};

/// How placements are found. All of them respect every constraint.
enum class strategy : std::int32_t {
    /// Searches for placements that no other beats; the others make one in one pass.
    nsga_ii = FOG_STRATEGY_NSGA_II,
    /// Each job where it is done first.
    latency_first = FOG_STRATEGY_LATENCY_FIRST,
    /// Each job where it leaves the use of nodes most even.
    load_balance = FOG_STRATEGY_LOAD_BALANCE,
    /// Each job on the node that is trusted most.
    trust_first = FOG_STRATEGY_TRUST_FIRST,
    /// Each job where it costs least.
    cost_optimize = FOG_STRATEGY_COST_OPTIMIZE,
    /// Each job on the next node in the order given that may take it.
    round_robin = FOG_STRATEGY_ROUND_ROBIN,
    /// Each job on a node that has others already, if there is one, where it leaves least unused.
    bin_pack = FOG_STRATEGY_BIN_PACK,
    /// Each job in the zone with the fewest, there with the operator and on the node with them.
    topology_spread = FOG_STRATEGY_TOPOLOGY_SPREAD,
};

/// What a job is promised.
enum class tier : std::int32_t {
    /// Best effort on one node.
    bronze = FOG_TIER_BRONZE,
    /// For what should not be done twice.
    silver = FOG_TIER_SILVER,
    /// For what somebody depends on.
    gold = FOG_TIER_GOLD,
    /// For what must not fail.
    platinum = FOG_TIER_PLATINUM,
};

/// What nodes are told apart by.
enum class domain : std::int32_t {
    /// Each node is a domain of its own.
    node = FOG_DOMAIN_NODE,
    /// Nodes that share power and network.
    zone = FOG_DOMAIN_ZONE,
    /// Nodes of one part of the world.
    region = FOG_DOMAIN_REGION,
    /// Nodes that one party runs.
    operated = FOG_DOMAIN_OPERATOR,
};

/// A reason why a node may not take a job: the values of fog_constraint.
using constraint = fog_constraint;

/// What a tier promises and what it costs.
struct terms {
    /// How many nodes run the job, each on its own.
    std::uint8_t replicas = 0;
    /// What the nodes of two replicas must differ in, all of it.
    std::vector<domain> distinct;
    /// Latency of a node that at most one answer in twenty exceeds.
    double latency_ms_p95 = 0;
    /// Share of the time for which at least one replica is there, 0 to 1.
    double availability = 0;
    /// Largest share of wrong or missing answers, 0 to 1.
    double error_rate = 0;
    /// The notice after which the job gives up its place; without, it never does.
    std::optional<std::uint64_t> preemption_notice_ms;
    /// What a node's asking price is multiplied by, in thousandths.
    std::uint64_t price_permille = 0;
};

/// What a tier promises and what it costs.
inline terms terms_of(tier of) {
    const auto raw = detail::fill<fog_terms>(
        [&](fog_terms *out) { return fog_tier_terms(static_cast<std::int32_t>(of), out); });
    terms result;
    result.replicas = raw.replicas;
    for (const auto each : {domain::node, domain::zone, domain::region, domain::operated}) {
        if (raw.distinct[static_cast<std::size_t>(each)]) {
            result.distinct.push_back(each);
        }
    }
    result.latency_ms_p95 = raw.latency_ms_p95;
    result.availability = raw.availability;
    result.error_rate = raw.error_rate;
    if (raw.preempted) {
        result.preemption_notice_ms = raw.preemption_notice_ms;
    }
    result.price_permille = raw.price_permille;
    return result;
}

/// A bound on how many jobs of a group share a domain.
struct job_spread {
    /// Name of the group. All its jobs say the same of the others.
    std::string group;
    /// What is a domain.
    domain over = domain::node;
    /// Most jobs of the group in one domain, each replica counted, at least 1.
    std::uint32_t most = 1;
};

/// A job to be placed.
struct job {
    /// 32 hexadecimal digits.
    std::string id;
    /// Processor it needs, in thousandths of a core.
    std::uint64_t cpu_millis = 0;
    std::uint64_t memory_bytes = 0;
    /// How long it runs on a node of speed 1.
    std::uint64_t duration_ms = 0;
    fogcompute::priority priority = fogcompute::priority::normal;
    /// Least trust of its node, 0 to 1.
    double min_trust = 0;
    /// Most it may cost, in base units. Each of its replicas may cost as much.
    std::optional<std::uint64_t> max_cost;
    /// Highest latency of its node.
    std::optional<double> max_latency_ms;
    /// Nodes it must not run on.
    std::vector<std::string> excluded;
    std::uint64_t disk_bytes = 0;
    /// Whole GPUs it needs.
    std::uint64_t gpus = 0;
    /// Bandwidth it needs while it runs, in bits per second.
    std::uint64_t bandwidth_bps = 0;
    /// Size of what it reads. Where that is not yet, it is fetched before the job runs.
    std::uint64_t input_bytes = 0;
    /// Nodes that hold its input already. They need not be among those offered.
    std::vector<std::string> input_on;
    /// Highest market price of one replica, in base units.
    std::optional<std::uint64_t> max_price;
    /// When it must be done and its node have been reached, from now.
    std::optional<std::uint64_t> deadline_ms;
    /// Regions it may run in; none stands for any.
    std::vector<std::string> regions;
    /// What it is promised. Nodes that cannot keep the promise are no choice for it.
    fogcompute::tier tier = fogcompute::tier::bronze;
    /// Jobs that must be on the same node as this one. Saying so of one of two is enough.
    std::vector<std::string> affinity;
    /// Jobs that must be on another node than this one. Saying so of one of two is enough.
    std::vector<std::string> anti_affinity;
    /// How thinly it is spread together with others.
    std::optional<job_spread> spread;
    /// The gang it is part of: all jobs of a gang are placed, or none.
    std::optional<std::string> gang;
    /// How many nodes run it; without, as many as its tier has.
    std::optional<std::uint8_t> replicas;
    /// Whether it may be preempted at once, whatever its tier says.
    bool preemptible = false;
};

/// A node that takes jobs.
///
/// Region, zone and operator may be empty if they are not known. All nodes of which one is not
/// known count as one domain of it, for nobody can show that they differ.
struct node {
    /// 64 hexadecimal digits.
    std::string id;
    /// Processor that is free, in thousandths of a core.
    std::uint64_t cpu_millis_free = 0;
    /// Processor there is, in thousandths of a core.
    std::uint64_t cpu_millis_total = 0;
    std::uint64_t memory_bytes_free = 0;
    /// How fast it is: a job takes its duration divided by this.
    double speed = 1;
    /// Time to reach it and back.
    double latency_ms = 0;
    /// How far it is trusted, 0 to 1.
    double trust = 0;
    /// Price of one core for one second, in base units.
    std::uint64_t price_per_cpu_second = 0;
    std::uint64_t disk_bytes_free = 0;
    /// Whole GPUs that are free.
    std::uint64_t gpus_free = 0;
    /// Bandwidth that is free, in bits per second.
    std::uint64_t bandwidth_bps_free = 0;
    /// What it asks on the market for one core for one second; without, its price.
    std::optional<std::uint64_t> ask_per_cpu_second;
    /// The part of the world it is in.
    std::string region;
    /// What it shares power and network with.
    std::string zone;
    /// Who runs it.
    std::string operator_name;
    /// Share of the time for which it is there, 0 to 1, if known.
    std::optional<double> availability;
    /// Share of its answers that are wrong or missing, 0 to 1, if known.
    std::optional<double> error_rate;
};

/// The placement nearest to the best of every objective.
struct knee {};

/// The placement with the least weighted sum of objectives.
struct weights {
    std::array<double, FOG_OBJECTIVE_COUNT> values{};
};

/// The placement that is best by the first objective named, of equals the best by the second, and
/// so on.
struct lexicographic {
    std::array<std::size_t, FOG_OBJECTIVE_COUNT> order{};
};

/// How one placement is chosen among those that nothing beats.
using preference = std::variant<knee, weights, lexicographic>;

/// Where one replica of a job runs.
struct assignment {
    std::string job;
    std::string node;
};

/// One placement of all jobs.
struct point {
    /// In the order in which jobs were given.
    std::vector<fogcompute::assignment> assignment;
    /// Completion in milliseconds, imbalance, distrust, cost, price.
    std::array<double, FOG_OBJECTIVE_COUNT> objectives{};
    /// What it costs, in base units.
    std::string cost;
    /// What it costs on the market, in base units.
    std::string price;
};

/// Placements that no other beats, and the one chosen.
struct plan {
    /// Never empty.
    std::vector<point> front;
    std::size_t chosen_index = 0;
    /// What the chosen placement gives up against the best found, for people.
    std::string explanation;

    const point &chosen() const { return front.at(chosen_index); }
};

namespace detail {

inline fog_preference native(const preference &any) noexcept {
    fog_preference raw{};
    raw.kind = FOG_PREFERENCE_KIND_KNEE;
    if (const auto *weighted = std::get_if<weights>(&any)) {
        raw.kind = FOG_PREFERENCE_KIND_WEIGHTS;
        std::copy(weighted->values.begin(), weighted->values.end(), raw.weights);
    } else if (const auto *ordered = std::get_if<lexicographic>(&any)) {
        raw.kind = FOG_PREFERENCE_KIND_LEXICOGRAPHIC;
        std::copy(ordered->order.begin(), ordered->order.end(), raw.order);
    }
    return raw;
}

inline point read_point(const fog_plan *from, std::size_t index) {
    const auto raw =
        fill<fog_point>([&](fog_point *out) { return fog_plan_point(from, index, out); });
    point result;
    result.cost = raw.cost.text;
    result.price = raw.price.text;
    std::copy(std::begin(raw.objectives), std::end(raw.objectives), result.objectives.begin());
    for (std::size_t i = 0; i < raw.assignment_count; i++) {
        const auto placed = fill<fog_assignment>([&](fog_assignment *out) {
            return fog_plan_assignment(from, index, i, out);
        });
        result.assignment.push_back({placed.job, placed.node});
    }
    return result;
}

inline std::string explain(const fog_plan *from) {
    const auto text = take<handle<char, fog_string_free>>(
        [&](char **out) { return fog_plan_explain(from, out); });
    return text.get();
}

inline plan read_plan(const fog_plan *from) {
    plan result;
    for (std::size_t i = 0; i < fog_plan_size(from); i++) {
        result.front.push_back(read_point(from, i));
    }
    result.chosen_index = fog_plan_chosen(from);
    result.explanation = explain(from);
    return result;
}

/// What C is given of a batch. It points to the jobs and nodes it was made of.
class native_batch {
public:
    native_batch(const std::vector<job> &jobs, const std::vector<node> &nodes, sharing how,
                 strategy by, const nsga2_config &config, const preference &preferred,
                 std::uint64_t seed)
        : parameters_(config.native()) {
        spreads_.reserve(jobs.size());
        for (const auto &each : jobs) {
            jobs_.push_back(native(each));
        }
        for (const auto &each : nodes) {
            nodes_.push_back(native(each));
        }
        placing_.sharing = static_cast<std::int32_t>(how);
        placing_.strategy = static_cast<std::int32_t>(by);
        placing_.config = &parameters_;
        placing_.preference = detail::native(preferred);
        placing_.seed = seed;
    }
    native_batch(const native_batch &) = delete;
    native_batch &operator=(const native_batch &) = delete;

    const std::vector<fog_job> &jobs() const noexcept { return jobs_; }
    const std::vector<fog_node> &nodes() const noexcept { return nodes_; }
    const fog_placing *placing() const noexcept { return &placing_; }

private:
    const char *const *texts(const std::vector<std::string> &from) {
        std::vector<const char *> result;
        for (const auto &each : from) {
            result.push_back(each.c_str());
        }
        texts_.push_back(std::move(result));
        return texts_.back().data();
    }

    fog_job native(const job &from) {
        fog_job raw{};
        raw.id = from.id.c_str();
        raw.cpu_millis = from.cpu_millis;
        raw.memory_bytes = from.memory_bytes;
        raw.duration_ms = from.duration_ms;
        raw.priority = static_cast<std::int32_t>(from.priority);
        raw.min_trust = from.min_trust;
        raw.has_max_cost = from.max_cost.has_value();
        raw.max_cost = from.max_cost.value_or(0);
        raw.has_max_latency_ms = from.max_latency_ms.has_value();
        raw.max_latency_ms = from.max_latency_ms.value_or(0);
        raw.excluded = texts(from.excluded);
        raw.excluded_count = from.excluded.size();
        raw.disk_bytes = from.disk_bytes;
        raw.gpus = from.gpus;
        raw.bandwidth_bps = from.bandwidth_bps;
        raw.input_bytes = from.input_bytes;
        raw.input_on = texts(from.input_on);
        raw.input_on_count = from.input_on.size();
        raw.has_max_price = from.max_price.has_value();
        raw.max_price = from.max_price.value_or(0);
        raw.has_deadline_ms = from.deadline_ms.has_value();
        raw.deadline_ms = from.deadline_ms.value_or(0);
        raw.regions = texts(from.regions);
        raw.region_count = from.regions.size();
        raw.tier = static_cast<std::int32_t>(from.tier);
        raw.affinity = texts(from.affinity);
        raw.affinity_count = from.affinity.size();
        raw.anti_affinity = texts(from.anti_affinity);
        raw.anti_affinity_count = from.anti_affinity.size();
        if (from.spread) {
            spreads_.push_back({from.spread->group.c_str(),
                                static_cast<std::int32_t>(from.spread->over), from.spread->most});
            raw.spread = &spreads_.back();
        }
        raw.gang = from.gang ? from.gang->c_str() : nullptr;
        raw.has_replicas = from.replicas.has_value();
        raw.replicas = from.replicas.value_or(0);
        raw.preemptible = from.preemptible;
        return raw;
    }

    static fog_node native(const node &from) noexcept {
        fog_node raw{};
        raw.id = from.id.c_str();
        raw.cpu_millis_free = from.cpu_millis_free;
        raw.cpu_millis_total = from.cpu_millis_total;
        raw.memory_bytes_free = from.memory_bytes_free;
        raw.speed = from.speed;
        raw.latency_ms = from.latency_ms;
        raw.trust = from.trust;
        raw.price_per_cpu_second = from.price_per_cpu_second;
        raw.disk_bytes_free = from.disk_bytes_free;
        raw.gpus_free = from.gpus_free;
        raw.bandwidth_bps_free = from.bandwidth_bps_free;
        raw.has_ask_per_cpu_second = from.ask_per_cpu_second.has_value();
        raw.ask_per_cpu_second = from.ask_per_cpu_second.value_or(0);
        raw.region = from.region.c_str();
        raw.zone = from.zone.c_str();
        raw.operator_name = from.operator_name.c_str();
        raw.has_availability = from.availability.has_value();
        raw.availability = from.availability.value_or(0);
        raw.has_error_rate = from.error_rate.has_value();
        raw.error_rate = from.error_rate.value_or(0);
        return raw;
    }

    fog_nsga2_config parameters_;
    std::vector<fog_job> jobs_;
    std::vector<fog_node> nodes_;
    std::vector<std::vector<const char *>> texts_;
    std::vector<fog_job_spread> spreads_;
    fog_placing placing_{};
};

} // namespace detail

/// Places jobs on nodes and chooses one placement. One seed gives one plan. strategy::nsga_ii
/// searches, as much as the configuration says; the others read nothing of that.
inline plan place(const std::vector<job> &jobs, const std::vector<node> &nodes, sharing how,
                  const nsga2_config &config = {}, const preference &preferred = knee{},
                  std::uint64_t seed = 0, strategy by = strategy::nsga_ii) {
    const detail::native_batch batch(jobs, nodes, how, by, config, preferred, seed);
    const auto found = detail::take<detail::handle<fog_plan, fog_plan_free>>([&](fog_plan **out) {
        return fog_place(batch.jobs().data(), batch.jobs().size(), batch.nodes().data(),
                         batch.nodes().size(), batch.placing(), out);
    });
    return detail::read_plan(found.get());
}

/// No node may take the job.
struct no_node {
    /// The constraints that remove nodes, with how many.
    std::vector<std::pair<constraint, std::uint32_t>> removed_by;
    /// The node that fails the fewest constraints.
    std::string nearest;
    /// Those constraints.
    std::vector<constraint> nearest_fails;
};

/// No node may take the job together with those that must be with it.
struct no_common_node {
    /// All of them.
    std::vector<std::string> jobs;
    /// How many nodes may take each of them alone.
    std::uint32_t shared = 0;
};

/// Beside the more urgent jobs no node has room for the job.
struct no_room {
    /// The node that lacks least.
    std::string node;
    /// What it lacks.
    fog_lacks lacks{};
};

/// A rule: replicas of a job must be in different domains.
struct distinct_replicas {
    /// What is a domain.
    domain over = domain::node;
};

/// A rule: jobs must avoid each other.
struct anti_affinity {};

/// A rule: nodes have only so much of something.
struct capacity {
    /// What there is too little of.
    constraint of = FOG_CONSTRAINT_CPU;
};

/// What can forbid that jobs are placed together.
using rule = std::variant<distinct_replicas, anti_affinity, job_spread, capacity>;

/// Wherever the job has room, it would be with others that it must not be with.
struct crowded {
    /// What forbids that, each of them somewhere.
    std::vector<rule> rules;
};

/// Wherever the job ran, it or a more urgent one would be late.
struct late {
    /// By how much at best.
    std::uint64_t late_ms = 0;
};

/// Another job, which this must be with or which is of its gang, was left out.
struct goes_with {
    /// The other.
    std::string job;
};

/// A job that was left out.
struct left_out {
    std::string job;
    /// Why.
    std::variant<no_node, no_common_node, no_room, crowded, late, goes_with> reason;
    /// The same for people.
    std::string explanation;
};

/// A placement of those jobs that fit.
struct partial_plan {
    /// Where they run, if any fits.
    std::optional<fogcompute::plan> plan;
    /// The others in the order given.
    std::vector<fogcompute::left_out> left_out;
};

namespace detail {

inline rule read_rule(const fog_left_out *from, std::size_t index, std::size_t at) {
    const auto raw =
        fill<fog_rule>([&](fog_rule *out) { return fog_left_out_rule(from, index, at, out); });
    const auto over = static_cast<domain>(raw.over);
    switch (raw.kind) {
    case FOG_RULE_KIND_REPLICAS:
        return distinct_replicas{over};
    case FOG_RULE_KIND_SPREAD: {
        const auto group = take<handle<char, fog_string_free>>(
            [&](char **out) { return fog_left_out_rule_group(from, index, at, out); });
        return job_spread{group.get(), over, raw.most};
    }
    case FOG_RULE_KIND_CAPACITY:
        return capacity{static_cast<constraint>(raw.of)};
    default:
        return anti_affinity{};
    }
}

inline left_out read_left_out(const fog_left_out *from, std::size_t index) {
    const auto raw = fill<fog_left_out_job>(
        [&](fog_left_out_job *out) { return fog_left_out_get(from, index, out); });
    left_out result{raw.job, crowded{}, {}};
    switch (raw.reason) {
    case FOG_LEFT_OUT_REASON_NO_NODE: {
        no_node why{{}, raw.node, {}};
        for (std::size_t i = 0; i < FOG_CONSTRAINT_COUNT; i++) {
            const auto each = static_cast<constraint>(i);
            if (raw.removed_by[i] > 0) {
                why.removed_by.emplace_back(each, raw.removed_by[i]);
            }
            if (raw.node_fails[i]) {
                why.nearest_fails.push_back(each);
            }
        }
        result.reason = std::move(why);
        break;
    }
    case FOG_LEFT_OUT_REASON_NO_COMMON_NODE: {
        no_common_node why{{}, raw.shared};
        for (std::size_t i = 0; i < raw.together_count; i++) {
            char id[FOG_ID_SIZE];
            check(fog_left_out_together(from, index, i, &id));
            why.jobs.emplace_back(id);
        }
        result.reason = std::move(why);
        break;
    }
    case FOG_LEFT_OUT_REASON_NO_ROOM:
        result.reason = no_room{raw.node, raw.lacks};
        break;
    case FOG_LEFT_OUT_REASON_CROWDED: {
        crowded why;
        for (std::size_t i = 0; i < raw.rule_count; i++) {
            why.rules.push_back(read_rule(from, index, i));
        }
        result.reason = std::move(why);
        break;
    }
    case FOG_LEFT_OUT_REASON_LATE:
        result.reason = late{raw.late_ms};
        break;
    case FOG_LEFT_OUT_REASON_GOES_WITH:
        result.reason = goes_with{raw.other};
        break;
    default:
        break;
    }
    const auto text = take<handle<char, fog_string_free>>(
        [&](char **out) { return fog_left_out_explain(from, index, out); });
    result.explanation = text.get();
    return result;
}

} // namespace detail

/// Places the jobs that fit and says why the others are left out: those that no node may take, then
/// the less urgent, by priority, by tier, then in the order given. A gang is left out whole, and so
/// are jobs that must be together. What is left out is not proven to have no place.
inline partial_plan place_what_fits(const std::vector<job> &jobs, const std::vector<node> &nodes,
                                    sharing how, const nsga2_config &config = {},
                                    const preference &preferred = knee{}, std::uint64_t seed = 0) {
    const detail::native_batch batch(jobs, nodes, how, strategy::nsga_ii, config, preferred, seed);
    fog_plan *plan = nullptr;
    const auto left =
        detail::take<detail::handle<fog_left_out, fog_left_out_free>>([&](fog_left_out **out) {
            return fog_place_what_fits(batch.jobs().data(), batch.jobs().size(),
                                       batch.nodes().data(), batch.nodes().size(), batch.placing(),
                                       &plan, out);
        });
    const detail::handle<fog_plan, fog_plan_free> found(plan);
    partial_plan result;
    if (plan != nullptr) {
        result.plan = detail::read_plan(plan);
    }
    for (std::size_t i = 0; i < fog_left_out_count(left.get()); i++) {
        result.left_out.push_back(detail::read_left_out(left.get(), i));
    }
    return result;
}

// ---- ledger -----------------------------------------------------------------------------------

/// What an account may do.
enum class account_kind : std::int32_t {
    /// Puts credits out and takes them back: it may give more than it received.
    issuer = FOG_ACCOUNT_KIND_ISSUER,
    /// Holds what it was given.
    holder = FOG_ACCOUNT_KIND_HOLDER,
};

/// Bounds of an account beyond those of its kind. What is left out is no bound.
struct account_limits {
    /// Most that an issuer may have out at once, open reservations included.
    std::optional<std::string> max_supply;
    /// An issuer takes back no more than it has put out.
    bool credits_must_not_exceed_debits = false;
    /// Most that transfers and posts may take from the account in one UTC day.
    std::optional<std::string> spend_per_day;
};

/// An account: its counters since it was opened, decimal text of base units.
struct account {
    std::string id;
    account_kind kind = account_kind::holder;
    /// What may be transferred or reserved from it now.
    std::string available;
    std::string credits_posted;
    std::string debits_posted;
    std::string credits_pending;
    std::string debits_pending;
    /// What it holds; 0 is credits.
    std::uint32_t asset = 0;
    /// It gives and receives nothing any more.
    bool closed = false;
    account_limits limits;
    /// The last UTC day on which it gave anything, in days since 1970, and what it gave then.
    std::uint64_t spent_day = 0;
    std::string spent;
};

/// What a transfer or a reservation is for. The ledger keeps it and makes nothing of it.
struct memo {
    /// The purpose, from a list of the caller's; 0 is unsaid.
    std::uint16_t code = 0;
    /// The caller's own reference; zeros are unsaid.
    std::array<std::uint8_t, 16> reference{};
};

/// One line of a ledger's history. What an entry of its kind does not say is empty, or zero.
struct ledger_entry {
    /// Place in the history, from 1 without gaps.
    std::uint64_t sequence = 0;
    /// When it was made, in milliseconds since 1970.
    std::uint64_t unix_ms = 0;
    /// What happened: "opened", "transferred", "reserved", "posted", "voided", "expired",
    /// "limited", "closed", "owned", "signed", "economy", "matured", "moved". There may be more
    /// later.
    std::string kind;
    /// Digest of the whole history up to it.
    std::string chain;
    /// The operation that made it.
    std::string id;
    /// The reservation that it closed.
    std::string reservation;
    /// The account, of what is about one only.
    std::string account;
    /// The accounts that give and receive, or would have.
    std::string from;
    std::string to;
    /// Base units that moved, or that a reservation holds back.
    std::string amount;
    /// Base units that were reserved and are free again.
    std::string released;
    /// What a transfer or a reservation was for.
    fogcompute::memo memo;
    /// When a reservation expires, in milliseconds since 1970.
    std::uint64_t expires_unix_ms = 0;
    /// What an opened account holds, and may do.
    std::uint32_t asset = 0;
    std::optional<fogcompute::account_kind> account_kind;
    /// An account's new limits.
    account_limits limits;
    /// An account's new key.
    key_bytes key{};
    /// Number of a signature, and the digest of what was signed.
    std::uint64_t nonce = 0;
    std::string digest;
    /// Sequence of the entry of the economy that a movement follows from.
    std::uint64_t cause = 0;
};

/// What an account had received and given at some moment of the past.
struct standing {
    /// The last entry before that moment that named the account.
    std::uint64_t sequence = 0;
    std::string credits_posted;
    std::string debits_posted;
    /// The one less the other, including what was reserved then.
    std::string balance;
};

/// Where a history ends.
struct ledger_head {
    /// Number of entries.
    std::uint64_t sequence = 0;
    /// Digest of the whole history.
    std::string chain;
};

/// What a checkpoint states.
struct checkpoint {
    ledger_head head;
    /// When it was made, in milliseconds since 1970.
    std::uint64_t unix_ms = 0;
    /// Digest of all accounts.
    std::string accounts_root;
};

/// What a power cut may cost a ledger. A killed process costs nothing.
enum class durability : std::int32_t {
    /// Every change waits for the disk.
    full = FOG_DURABILITY_FULL,
    /// The last changes may be lost, never torn.
    normal = FOG_DURABILITY_NORMAL,
};

/// What an operator is accused of.
enum class evidence : std::int32_t {
    /// It signed two different results of one task: never an accident.
    double_result = FOG_EVIDENCE_DOUBLE_RESULT,
    /// It signed a result that others proved wrong.
    invalid_result = FOG_EVIDENCE_INVALID_RESULT,
    /// It was not there when it had promised to be.
    downtime = FOG_EVIDENCE_DOWNTIME,
};

/// What a parameter is counted in.
enum class parameter_unit : std::int32_t {
    /// Base units of credits.
    base_units = FOG_PARAMETER_UNIT_BASE_UNITS,
    /// Millionths.
    ppm = FOG_PARAMETER_UNIT_PPM,
    /// Thousandths.
    per_mille = FOG_PARAMETER_UNIT_PER_MILLE,
    milliseconds = FOG_PARAMETER_UNIT_MILLISECONDS,
    /// Things.
    count = FOG_PARAMETER_UNIT_COUNT,
    /// 0 for no, 1 for yes.
    flag = FOG_PARAMETER_UNIT_FLAG,
};

/// What an operation of the economy did, amounts as decimal text of base units. What an event of
/// its kind does not say is empty, or zero.
struct economy_receipt {
    /// Place of its entry in the history, from 1.
    std::uint64_t sequence = 0;
    /// When it happened, in milliseconds since 1970.
    std::uint64_t unix_ms = 0;
    /// It was asked for before: nothing happened this time.
    bool replayed = false;
    /// What happened: "configured", "parameter_set", "registered", "commission_set", "bonded",
    /// "unbonded", "unbonding_cancelled", "redelegated", "claimed", "commission_claimed",
    /// "rewarded", "slashed", "unjailed", "insurance_paid", "earned", "fee_paid"; of governance
    /// "established", "enrolled", "delegated", "reputation_set", "drafted", "submitted", "proposed",
    /// "voted", "cancelled", "queued", "executed". There may be more later.
    std::string event;
    /// What was staked, left, came back, changed its operator, was claimed or paid out, was granted
    /// for a contribution; all of a reward, of a fee, or that a slash took.
    std::string amount;
    /// What the daily limit cut off of a contribution's reward.
    std::string cut_by_limit;
    /// Of a reward, the operator's commission.
    std::string commission;
    /// Of a reward that no stake had a right to, or of a fee, what went to the treasury.
    std::string treasury;
    /// Of a fee, what went to the sovereign fund. The payee has the rest.
    std::string sovereign_fund;
    /// Of what a slash took, what the insurance fund has. The rest was burned.
    std::string insured;
    /// Number of the unbonding or redelegation, from 1.
    std::uint64_t entry = 0;
    /// When an unbonding is paid out, and until when a redelegation answers for what its first
    /// operator did, in milliseconds since 1970.
    std::uint64_t matures_unix_ms = 0;
    /// When a slashed operator may come back, in milliseconds since 1970.
    std::uint64_t jailed_until_unix_ms = 0;
    /// Whether a slashed operator may never come back.
    bool tombstoned = false;
    /// The proposal that was drafted, submitted, voted on, cancelled, queued or executed.
    std::string proposal;
    /// All power of the ballot that was cast or changed.
    std::string power;
    /// The last millisecond to vote in since 1970, of a proposal that was submitted or voted on.
    std::uint64_t deadline_unix_ms = 0;
    /// When a proposal that was queued may be executed, in milliseconds since 1970.
    std::uint64_t eta_unix_ms = 0;
};

/// What a voter says.
enum class vote_choice : std::int32_t {
    /// No.
    against = FOG_CHOICE_AGAINST,
    /// Yes.
    in_favor = FOG_CHOICE_FOR,
    /// Neither; counts for the quorum.
    abstain = FOG_CHOICE_ABSTAIN,
};

/// What a proposal is about. Also what votes are delegated by.
enum class proposal_kind : std::int32_t {
    /// Numbers of the economy.
    parameter_change = FOG_PROPOSAL_KIND_PARAMETER_CHANGE,
    /// Payments from the treasury.
    treasury_allocation = FOG_PROPOSAL_KIND_TREASURY_ALLOCATION,
    /// The version that nodes run.
    protocol_upgrade = FOG_PROPOSAL_KIND_PROTOCOL_UPGRADE,
    /// A pause, on a shorter clock and with a higher bar.
    emergency_action = FOG_PROPOSAL_KIND_EMERGENCY_ACTION,
    /// An agent and its budget.
    agent_deployment = FOG_PROPOSAL_KIND_AGENT_DEPLOYMENT,
    /// Roles and resolutions.
    general = FOG_PROPOSAL_KIND_GENERAL,
};

/// Where a proposal is in its life.
enum class proposal_state : std::int32_t {
    /// Its author's own; no clock runs.
    draft = FOG_PROPOSAL_STATE_DRAFT,
    /// Submitted; the snapshot is not past.
    pending = FOG_PROPOSAL_STATE_PENDING,
    /// Can be voted on.
    active = FOG_PROPOSAL_STATE_ACTIVE,
    /// The deadline passed without a quorum or approval.
    defeated = FOG_PROPOSAL_STATE_DEFEATED,
    /// Passed; can be queued.
    succeeded = FOG_PROPOSAL_STATE_SUCCEEDED,
    /// Waits for its timelock, then can be executed.
    queued = FOG_PROPOSAL_STATE_QUEUED,
    /// Done.
    executed = FOG_PROPOSAL_STATE_EXECUTED,
    /// Nobody queued or executed it in time.
    expired = FOG_PROPOSAL_STATE_EXPIRED,
    /// Withdrawn by its author or stopped by a guardian.
    cancelled = FOG_PROPOSAL_STATE_CANCELLED,
};

/// What an account is in governance.
enum class role : std::int32_t {
    /// Everybody else.
    citizen = FOG_ROLE_CITIZEN,
    /// Votes for others, by trade.
    delegate = FOG_ROLE_DELEGATE,
    /// Sits on a council.
    councilor = FOG_ROLE_COUNCILOR,
    /// May cancel proposals.
    guardian = FOG_ROLE_GUARDIAN,
    /// May cancel proposals.
    king = FOG_ROLE_KING,
};

/// How power becomes votes.
enum class weighing : std::int32_t {
    /// As it is.
    linear = FOG_WEIGHING_LINEAR,
    /// Times a reputation.
    reputation = FOG_WEIGHING_REPUTATION,
    /// Its square root.
    quadratic = FOG_WEIGHING_QUADRATIC,
    /// The more, the longer a vote stands.
    conviction = FOG_WEIGHING_CONVICTION,
};

/// A part of somebody's votes, and who casts it.
struct delegated_part {
    /// Casts it.
    std::string to_account;
    /// How much of it, in millionths.
    std::uint32_t part_ppm = 1000000;
};

/// A role and who has it.
struct role_holder {
    /// Who has it.
    std::string account;
    /// The role.
    fogcompute::role role = fogcompute::role::citizen;
};

/// What is asked of governance: fog_governance_request says which fields each kind reads.
class governance_request {
public:
    /// Gives the founding roles, once. From then on the host sets no parameters and pays no rewards
    /// from treasury or mint: proposals do.
    static governance_request establish(std::vector<role_holder> roles) {
        governance_request request(FOG_GOVERNANCE_KIND_ESTABLISH);
        request.roles_ = std::move(roles);
        return request;
    }

    /// Lets an account vote with what it has from now on.
    static governance_request enrol(std::string account) {
        return {FOG_GOVERNANCE_KIND_ENROL, std::move(account)};
    }

    /// Delegates votes, in place of what was delegated before on those topics: on all of them if
    /// there are none. The rest stays with the voter; without delegates all does, which revokes.
    static governance_request delegate(std::string voter, std::vector<delegated_part> to,
                                       const std::vector<proposal_kind> &topics = {}) {
        governance_request request(FOG_GOVERNANCE_KIND_DELEGATE, std::move(voter));
        request.delegates_ = std::move(to);
        for (const auto topic : topics) {
            request.topics_.push_back(static_cast<std::int32_t>(topic));
        }
        return request;
    }

    /// Sets what an account's votes are counted by where reputation counts, in millionths.
    static governance_request set_reputation(std::string account, std::uint32_t reputation_ppm) {
        governance_request request(FOG_GOVERNANCE_KIND_SET_REPUTATION, std::move(account));
        request.reputation_ppm_ = reputation_ppm;
        return request;
    }

    /// Keeps a proposal that is not submitted yet. What it says is JSON text, as
    /// fog_governance_request has it.
    static governance_request draft(std::string author, std::string proposal,
                                    std::string content) {
        return {FOG_GOVERNANCE_KIND_DRAFT, std::move(author), std::move(proposal),
                std::move(content)};
    }

    /// Submits a draft.
    static governance_request submit(std::string author, std::string proposal) {
        return {FOG_GOVERNANCE_KIND_SUBMIT, std::move(author), std::move(proposal)};
    }

    /// Submits a proposal that was no draft. What it says is JSON text, as fog_governance_request
    /// has it.
    static governance_request propose(std::string author, std::string proposal,
                                      std::string content) {
        return {FOG_GOVERNANCE_KIND_PROPOSE, std::move(author), std::move(proposal),
                std::move(content)};
    }

    /// Votes, or changes a vote. Who has delegated and votes takes that back for this proposal.
    static governance_request vote(std::string voter, std::string proposal,
                                   vote_choice choice) {
        governance_request request(FOG_GOVERNANCE_KIND_VOTE, std::move(voter),
                                   std::move(proposal));
        request.choice_ = static_cast<std::int32_t>(choice);
        return request;
    }

    /// Cancels a proposal: its author before voting begins, a guardian or a king until it is over.
    static governance_request cancel(std::string by, std::string proposal) {
        return {FOG_GOVERNANCE_KIND_CANCEL, std::move(by), std::move(proposal)};
    }

    /// Starts the timelock of a proposal that has passed. Anybody may.
    static governance_request queue(std::string proposal) {
        return {FOG_GOVERNANCE_KIND_QUEUE, {}, std::move(proposal)};
    }

    /// Does what a proposal says, all or nothing. Anybody may.
    static governance_request execute(std::string proposal) {
        return {FOG_GOVERNANCE_KIND_EXECUTE, {}, std::move(proposal)};
    }

private:
    friend class batch;
    friend class governance;

    governance_request(fog_governance_kind kind, std::string account = {},
                       std::string proposal = {}, std::string content = {})
        : kind_(kind), account_(std::move(account)), proposal_(std::move(proposal)),
          content_(std::move(content)) {}

    /// Calls with the request as C has it.
    template <class Call>
    auto with(Call &&call) const {
        std::vector<fog_delegated_part> delegates;
        for (const auto &part : delegates_) {
            fog_delegated_part raw{};
            detail::copy_text(part.to_account, raw.to_account, "to_account");
            raw.part_ppm = part.part_ppm;
            delegates.push_back(raw);
        }
        std::vector<fog_role_holder> roles;
        for (const auto &holder : roles_) {
            fog_role_holder raw{};
            detail::copy_text(holder.account, raw.account, "account");
            raw.role = static_cast<std::int32_t>(holder.role);
            roles.push_back(raw);
        }
        fog_governance_request raw{};
        raw.kind = kind_;
        raw.account = account_.c_str();
        raw.proposal = proposal_.c_str();
        raw.content = content_.c_str();
        raw.choice = choice_;
        raw.reputation_ppm = reputation_ppm_;
        raw.topics = topics_.data();
        raw.topics_len = topics_.size();
        raw.delegates = delegates.data();
        raw.delegates_len = delegates.size();
        raw.roles = roles.data();
        raw.roles_len = roles.size();
        return call(&raw);
    }

    fog_governance_kind kind_;
    std::string account_, proposal_, content_;
    std::int32_t choice_ = 0;
    std::uint32_t reputation_ppm_ = 0;
    std::vector<std::int32_t> topics_;
    std::vector<delegated_part> delegates_;
    std::vector<role_holder> roles_;
};

/// What came together for each choice, as decimal text of base units.
struct tally {
    /// Against it.
    std::string against;
    /// For it.
    std::string in_favor;
    /// Neither.
    std::string abstain;
};

/// A proposal as it stands, weights as decimal text of base units.
struct proposal {
    /// Names it.
    std::string id;
    /// Who made it.
    std::string author;
    /// What it is about.
    proposal_kind kind = proposal_kind::general;
    /// Where it is in its life.
    proposal_state state = proposal_state::draft;
    /// Weights count as they were at the end of this millisecond since 1970, and voting begins
    /// after it. 0 for a draft, like all that the rules decide when it is submitted.
    std::uint64_t snapshot_unix_ms = 0;
    /// The last millisecond to vote in since 1970, as far as is known: a late quorum moves it.
    std::uint64_t deadline_unix_ms = 0;
    /// When it may be executed, once it is queued, in milliseconds since 1970.
    std::uint64_t eta_unix_ms = 0;
    /// When it was executed or cancelled, in milliseconds since 1970.
    std::uint64_t closed_unix_ms = 0;
    /// Who cancelled it, or empty.
    std::string cancelled_by;
    /// All weight at the snapshot, or empty until that is past.
    std::string total;
    /// The power of votes for it and of abstentions that makes a quorum, or empty until the
    /// snapshot is past.
    std::string quorum;
    /// Whether there is a quorum.
    bool quorum_reached = false;
    /// The part of the votes for and against that must be for it, in millionths.
    std::uint32_t approval_ppm = 0;
    /// Whether that many are.
    bool approved = false;
    /// How power becomes votes.
    fogcompute::weighing weighing = fogcompute::weighing::linear;
    /// The power of those who voted, which a quorum is counted in.
    tally power;
    /// The votes that makes, which approval is counted in.
    tally votes;
    /// How many have voted. None once it is over: ballots are forgotten, the history has them.
    std::size_t ballots = 0;
};

/// What a voter has said about a proposal, weights as decimal text of base units.
struct ballot {
    /// What it says.
    vote_choice choice = vote_choice::abstain;
    /// All power it carries: the voter's own and what was delegated, but for what others took back
    /// by voting themselves.
    std::string power;
    /// The power that counts: no voter has more than the rules allow one.
    std::string counted;
    /// The votes that makes.
    std::string votes;
    /// How often it was changed.
    std::uint32_t changes = 0;
};

/// Where an account's power on a topic comes from and goes to, as decimal text of base units.
struct voting_power {
    /// What it weighs itself, by its role.
    std::string own;
    /// What was delegated to it, directly or through others.
    std::string received;
    /// What it delegates of both.
    std::string passed_on;
    /// What it can vote with, if nobody whose votes it casts votes: for a vote of its own takes
    /// back what it delegated.
    std::string power;
    /// What stays with it: what a proposer must weigh.
    std::string kept;
};

/// What an account is to governance.
struct member {
    /// Whether what it has counts.
    bool enrolled = false;
    /// Its role.
    fogcompute::role role = fogcompute::role::citizen;
    /// What counts, in its account: decimal text of base units.
    std::string tokens;
    /// What counts, staked.
    std::string staked;
    /// The reputation that was set for it, in millionths.
    std::optional<std::uint32_t> reputation_ppm;
};

/// What governance is beside its proposals.
struct governance_overview {
    /// Whether founding roles were given: from then on, rules and treasury are governed.
    bool established = false;
    /// How many accounts are enrolled.
    std::size_t members = 0;
    /// What everybody holds and has staked: decimal text of base units, counted from when the first
    /// account is enrolled.
    std::string circulating;
    /// All weight: what circulates, and what roles add to it.
    std::string total;
    /// Whether rewards for contributions and sessions are paused.
    bool earning_paused = false;
    /// Whether bonding, unbonding, redelegation and claims are paused.
    bool staking_paused = false;
    /// Whether fees are paused.
    bool fees_paused = false;
    /// Whether payments from the treasury are paused.
    bool treasury_paused = false;
};

/// A node that may be staked on, as it stands.
struct economy_operator {
    std::string id;
    /// Receives its commission.
    std::string account;
    /// Its part of every reward, in millionths, and when that was set.
    std::uint32_t commission_ppm = 0;
    std::uint64_t commission_set_unix_ms = 0;
    /// What is staked on it.
    std::string staked;
    /// Rewards that its delegators have not claimed yet, remainders included.
    std::string unclaimed;
    /// Its own commission that it has not claimed yet.
    std::string commission_due;
    /// When it may come back, if it is in jail, in milliseconds since 1970.
    std::optional<std::uint64_t> jailed_until_unix_ms;
    /// Whether it will never come back.
    bool tombstoned = false;
};

/// Stake on its way out.
struct unbonding {
    std::uint64_t entry = 0;
    /// When it began to leave, and when it will be paid out, in milliseconds since 1970.
    std::uint64_t started_unix_ms = 0;
    std::uint64_t matures_unix_ms = 0;
    /// What left, but for what came back.
    std::string initial;
    /// What slashes have left of it.
    std::string balance;
};

/// What an account has at an operator.
struct economy_stake {
    /// What is staked, rounded down.
    std::string staked;
    /// What a claim would pay now.
    std::string claimable;
};

/// A number of the economy, in decimal digits.
struct economy_parameter {
    /// Its name, which never changes: the path of the number in the JSON of the rules, with points
    /// between the parts. An element of a list goes by its `fact`.
    std::string name;
    parameter_unit unit = parameter_unit::base_units;
    std::string value;
    /// The least and the most it may be.
    std::string min;
    std::string max;
};

/// The account of a purse of the economy, the same in every ledger: "bonded", "unbonding",
/// "rewards", "insurance", "treasury", "sovereign_fund" or "mint".
inline std::string purse_account_id(const std::string &purse) {
    char out[FOG_ID_SIZE] = {};
    detail::check(fog_purse_account(purse.c_str(), out));
    return out;
}

/// The rules that an economy has unless it is told others, as JSON text: every number with its
/// name.
inline std::string default_economy_rules() {
    const auto text =
        detail::take<detail::handle<char, fog_string_free>>(fog_economy_default_rules);
    return text.get();
}

/// How a history is written as text, a line for each entry.
enum class text_format : std::int32_t {
    /// The one that the file's name tells: it ends with .csv or .jsonl.
    of_name = FOG_TEXT_FORMAT_OF_NAME,
    /// Columns under a line with their names, for spreadsheets.
    csv = FOG_TEXT_FORMAT_CSV,
    /// One JSON object a line, amounts as text.
    json_lines = FOG_TEXT_FORMAT_JSON_LINES,
};

namespace detail {

inline fog_amount native(const std::optional<std::string> &amount) {
    fog_amount raw{};
    if (amount) {
        // One that is too long stays without its end and without a NUL byte: the library refuses
        // it.
        amount->copy(raw.text, sizeof raw.text);
    }
    return raw;
}

inline fog_account_limits native(const account_limits &limits) {
    fog_account_limits raw{};
    raw.max_supply = native(limits.max_supply);
    raw.spend_per_day = native(limits.spend_per_day);
    raw.credits_must_not_exceed_debits = limits.credits_must_not_exceed_debits;
    return raw;
}

inline fog_memo native(const memo &said) {
    fog_memo raw{};
    raw.code = said.code;
    std::copy(said.reference.begin(), said.reference.end(), raw.reference);
    return raw;
}

inline account_limits told(const fog_account_limits &raw) {
    const auto amount = [](const fog_amount &bound) {
        return *bound.text == 0 ? std::nullopt : std::optional<std::string>(bound.text);
    };
    return {amount(raw.max_supply), raw.credits_must_not_exceed_debits, amount(raw.spend_per_day)};
}

inline account told(const fog_account &raw) {
    return {raw.id,
            static_cast<account_kind>(raw.kind),
            raw.available.text,
            raw.credits_posted.text,
            raw.debits_posted.text,
            raw.credits_pending.text,
            raw.debits_pending.text,
            raw.asset,
            raw.closed,
            told(raw.limits),
            raw.spent_day,
            raw.spent.text};
}

inline ledger_entry told(const fog_ledger_entry &raw) {
    ledger_entry entry;
    entry.sequence = raw.sequence;
    entry.unix_ms = raw.unix_ms;
    entry.kind = raw.kind;
    entry.chain = raw.chain;
    entry.id = raw.id;
    entry.reservation = raw.reservation;
    entry.account = raw.account;
    entry.from = raw.from;
    entry.to = raw.to;
    entry.amount = raw.amount.text;
    entry.released = raw.released.text;
    entry.memo.code = raw.memo.code;
    std::copy(std::begin(raw.memo.reference), std::end(raw.memo.reference),
              entry.memo.reference.begin());
    entry.expires_unix_ms = raw.expires_unix_ms;
    entry.asset = raw.asset;
    if (raw.account_kind != 0) {
        entry.account_kind = static_cast<account_kind>(raw.account_kind);
    }
    entry.limits = told(raw.limits);
    std::copy(std::begin(raw.key), std::end(raw.key), entry.key.begin());
    entry.nonce = raw.nonce;
    entry.digest = raw.digest;
    entry.cause = raw.cause;
    return entry;
}

inline const char *optional(const std::optional<std::string> &text) {
    return text ? text->c_str() : nullptr;
}

inline std::vector<fog_fact> native(const std::map<std::string, std::uint64_t> &facts) {
    std::vector<fog_fact> raw;
    raw.reserve(facts.size());
    for (const auto &[name, value] : facts) {
        raw.push_back({name.c_str(), value});
    }
    return raw;
}

inline economy_receipt told(const fog_economy_receipt &raw) {
    return {raw.sequence,
            raw.unix_ms,
            raw.replayed,
            raw.event,
            raw.amount.text,
            raw.cut_by_limit.text,
            raw.commission.text,
            raw.treasury.text,
            raw.sovereign_fund.text,
            raw.insured.text,
            raw.entry,
            raw.matures_unix_ms,
            raw.jailed_until_unix_ms,
            raw.tombstoned,
            raw.proposal,
            raw.power.text,
            raw.deadline_unix_ms,
            raw.eta_unix_ms};
}

inline economy_operator told(const fog_economy_operator &raw) {
    return {raw.id,
            raw.account,
            raw.commission_ppm,
            raw.commission_set_unix_ms,
            raw.staked.text,
            raw.unclaimed.text,
            raw.commission_due.text,
            raw.jailed ? std::optional<std::uint64_t>(raw.jailed_until_unix_ms) : std::nullopt,
            raw.tombstoned};
}

inline unbonding told(const fog_unbonding &raw) {
    return {raw.entry, raw.started_unix_ms, raw.matures_unix_ms, raw.initial.text,
            raw.balance.text};
}

inline economy_parameter told(const fog_parameter &raw) {
    return {raw.name, static_cast<parameter_unit>(raw.unit), raw.value.text, raw.min.text,
            raw.max.text};
}

inline delegated_part told(const fog_delegated_part &raw) {
    return {raw.to_account, raw.part_ppm};
}

inline role_holder told(const fog_role_holder &raw) {
    return {raw.account, static_cast<role>(raw.role)};
}

inline tally told(const fog_tally &raw) {
    return {raw.against.text, raw.in_favor.text, raw.abstain.text};
}

inline proposal told(const fog_proposal &raw) {
    return {raw.id,
            raw.author,
            static_cast<proposal_kind>(raw.kind),
            static_cast<proposal_state>(raw.state),
            raw.snapshot_unix_ms,
            raw.deadline_unix_ms,
            raw.eta_unix_ms,
            raw.closed_unix_ms,
            raw.cancelled_by,
            raw.total.text,
            raw.quorum.text,
            raw.quorum_reached,
            raw.approval_ppm,
            raw.approved,
            static_cast<weighing>(raw.weighing),
            told(raw.power),
            told(raw.votes),
            raw.ballots};
}

inline ballot told(const fog_ballot &raw) {
    return {static_cast<vote_choice>(raw.choice), raw.power.text, raw.counted.text, raw.votes.text,
            raw.changes};
}

inline voting_power told(const fog_voting_power &raw) {
    return {raw.own.text, raw.received.text, raw.passed_on.text, raw.power.text, raw.kept.text};
}

inline member told(const fog_member &raw) {
    return {raw.enrolled, static_cast<role>(raw.role), raw.tokens.text, raw.staked.text,
            raw.has_reputation ? std::optional<std::uint32_t>(raw.reputation_ppm) : std::nullopt};
}

inline governance_overview told(const fog_governance &raw) {
    return {raw.established,    raw.members,        raw.circulating.text, raw.total.text,
            raw.earning_paused, raw.staking_paused, raw.fees_paused,      raw.treasury_paused};
}

/// The items that a call puts into an array.
template <class T, class Call>
auto fill_page(std::size_t capacity, Call &&call) {
    std::vector<T> raw(capacity);
    std::size_t count = 0;
    check(call(raw.data(), raw.size(), &count));
    std::vector<decltype(told(raw[0]))> items;
    items.reserve(count);
    for (std::size_t i = 0; i < count; i++) {
        items.push_back(told(raw[i]));
    }
    return items;
}

/// All items of a list, however many there are when it is asked for.
template <class T, class Call>
auto fill_list(Call &&call) {
    std::size_t count = 0;
    fog_status status = call(nullptr, 0, &count);
    std::vector<T> raw;
    while (status == FOG_STATUS_BUFFER_TOO_SMALL) {
        raw.resize(count);
        status = call(raw.data(), raw.size(), &count);
    }
    check(status);
    std::vector<decltype(told(raw[0]))> items;
    items.reserve(count);
    for (std::size_t i = 0; i < count; i++) {
        items.push_back(told(raw[i]));
    }
    return items;
}

} // namespace detail

/// Operations that happen as a whole or not at all: ledger::execute(). One thread at a time.
class batch {
public:
    batch() : handle_(detail::take<handle>(fog_batch_new)) {}

    std::size_t size() const noexcept { return fog_batch_len(handle_.get()); }

    /// Takes all operations out.
    void clear() { detail::check(fog_batch_clear(handle_.get())); }

    /// Opens an account for an asset; 0 is credits.
    batch &open_account(const std::string &id, account_kind kind, std::uint32_t asset = 0) {
        return added(fog_batch_open_account(handle_.get(), id.c_str(),
                                            static_cast<std::int32_t>(kind), asset));
    }

    batch &transfer(const std::string &id, const std::string &from, const std::string &to,
                    const std::string &amount, const fogcompute::memo &said = {}) {
        const auto raw = detail::native(said);
        return added(fog_batch_transfer(handle_.get(), id.c_str(), from.c_str(), to.c_str(),
                                        amount.c_str(), &raw));
    }

    /// Holds an amount back; `expires_unix_ms` is in milliseconds since 1970, 0 for never.
    batch &reserve(const std::string &id, const std::string &from, const std::string &to,
                   const std::string &amount, std::uint64_t expires_unix_ms = 0,
                   const fogcompute::memo &said = {}) {
        const auto raw = detail::native(said);
        return added(fog_batch_reserve(handle_.get(), id.c_str(), from.c_str(), to.c_str(),
                                       amount.c_str(), expires_unix_ms, &raw));
    }

    batch &post(const std::string &id, const std::string &reservation,
                const std::optional<std::string> &amount = std::nullopt) {
        return added(fog_batch_post(handle_.get(), id.c_str(), reservation.c_str(),
                                    amount ? amount->c_str() : nullptr));
    }

    batch &void_(const std::string &id, const std::string &reservation) {
        return added(fog_batch_void(handle_.get(), id.c_str(), reservation.c_str()));
    }

    batch &limit(const std::string &id, const std::string &account,
                 const account_limits &limits) {
        const auto raw = detail::native(limits);
        return added(fog_batch_limit(handle_.get(), id.c_str(), account.c_str(), &raw));
    }

    batch &close_account(const std::string &id, const std::string &account) {
        return added(fog_batch_close_account(handle_.get(), id.c_str(), account.c_str()));
    }

    batch &own(const std::string &id, const std::string &account, const key_bytes &key) {
        return added(fog_batch_own(handle_.get(), id.c_str(), account.c_str(), key.data(),
                                   key.size()));
    }

    /// The operations of the economy: class economy says what they do.
    batch &configure(const std::string &id,
                     const std::optional<std::string> &rules = std::nullopt) {
        return added(fog_batch_configure(handle_.get(), id.c_str(), detail::optional(rules)));
    }

    batch &set_parameter(const std::string &id, const std::string &name,
                         const std::string &value) {
        return added(
            fog_batch_set_parameter(handle_.get(), id.c_str(), name.c_str(), value.c_str()));
    }

    batch &register_operator(const std::string &id, const std::string &node,
                             const std::string &account, std::uint32_t commission_ppm) {
        return added(fog_batch_register_operator(handle_.get(), id.c_str(), node.c_str(),
                                                 account.c_str(), commission_ppm));
    }

    batch &set_commission(const std::string &id, const std::string &node,
                          std::uint32_t commission_ppm) {
        return added(fog_batch_set_commission(handle_.get(), id.c_str(), node.c_str(),
                                              commission_ppm));
    }

    batch &bond(const std::string &id, const std::string &node, const std::string &delegator,
                const std::string &amount) {
        return added(fog_batch_bond(handle_.get(), id.c_str(), node.c_str(), delegator.c_str(),
                                    amount.c_str()));
    }

    batch &unbond(const std::string &id, const std::string &node, const std::string &delegator,
                  const std::optional<std::string> &amount = std::nullopt) {
        return added(fog_batch_unbond(handle_.get(), id.c_str(), node.c_str(), delegator.c_str(),
                                      detail::optional(amount)));
    }

    batch &cancel_unbonding(const std::string &id, const std::string &node,
                            const std::string &delegator, std::uint64_t entry,
                            const std::optional<std::string> &amount = std::nullopt) {
        return added(fog_batch_cancel_unbonding(handle_.get(), id.c_str(), node.c_str(),
                                                delegator.c_str(), entry,
                                                detail::optional(amount)));
    }

    batch &redelegate(const std::string &id, const std::string &delegator,
                      const std::string &from_operator, const std::string &to_operator,
                      const std::optional<std::string> &amount = std::nullopt) {
        return added(fog_batch_redelegate(handle_.get(), id.c_str(), delegator.c_str(),
                                          from_operator.c_str(), to_operator.c_str(),
                                          detail::optional(amount)));
    }

    batch &claim(const std::string &id, const std::string &node, const std::string &delegator) {
        return added(fog_batch_claim(handle_.get(), id.c_str(), node.c_str(), delegator.c_str()));
    }

    batch &claim_commission(const std::string &id, const std::string &node) {
        return added(fog_batch_claim_commission(handle_.get(), id.c_str(), node.c_str()));
    }

    batch &reward(const std::string &id, const std::string &node, const std::string &source,
                  const std::string &amount) {
        return added(fog_batch_reward(handle_.get(), id.c_str(), node.c_str(), source.c_str(),
                                      amount.c_str()));
    }

    batch &slash(const std::string &id, const std::string &node, evidence evidence_,
                 std::uint64_t infraction_unix_ms, const std::string &power) {
        return added(fog_batch_slash(handle_.get(), id.c_str(), node.c_str(),
                                     static_cast<std::int32_t>(evidence_), infraction_unix_ms,
                                     power.c_str()));
    }

    batch &unjail(const std::string &id, const std::string &node) {
        return added(fog_batch_unjail(handle_.get(), id.c_str(), node.c_str()));
    }

    batch &pay_insurance(const std::string &id, const std::string &claim,
                         const std::string &to_account, const std::string &amount) {
        return added(fog_batch_pay_insurance(handle_.get(), id.c_str(), claim.c_str(),
                                             to_account.c_str(), amount.c_str()));
    }

    batch &earn(const std::string &id, const std::string &rule, const std::string &account,
                const std::map<std::string, std::uint64_t> &facts) {
        const auto raw = detail::native(facts);
        return added(fog_batch_earn(handle_.get(), id.c_str(), rule.c_str(), account.c_str(),
                                    raw.data(), raw.size()));
    }

    batch &earn_session(const std::string &id, const std::string &account,
                        std::uint64_t power_milli, std::uint64_t duration_ms,
                        std::uint32_t bonus_per_mille) {
        return added(fog_batch_earn_session(handle_.get(), id.c_str(), account.c_str(), power_milli,
                                            duration_ms, bonus_per_mille));
    }

    batch &pay_fee(const std::string &id, const std::string &payer, const std::string &payee,
                   const std::string &amount) {
        return added(fog_batch_pay_fee(handle_.get(), id.c_str(), payer.c_str(), payee.c_str(),
                                       amount.c_str()));
    }

    /// Adds what governance is asked for: class governance says what that does.
    batch &govern(const std::string &id, const governance_request &request) {
        return added(request.with([&](const fog_governance_request *raw) {
            return fog_batch_governance(handle_.get(), id.c_str(), raw);
        }));
    }

    /// The batch signed by the owner of an account: ledger::execute_signed().
    bytes sign(const std::string &account, std::uint64_t nonce, std::uint64_t expires_unix_ms,
               const key_bytes &secret) const {
        return sized([&](std::uint8_t *out, std::size_t capacity, std::size_t *len) {
            return fog_batch_sign(handle_.get(), account.c_str(), nonce, expires_unix_ms,
                                  secret.data(), secret.size(), out, capacity, len);
        });
    }

    /// The bytes that an owner's signature is over, for keys that are kept elsewhere.
    bytes message(const std::string &account, std::uint64_t nonce,
                  std::uint64_t expires_unix_ms) const {
        return sized([&](std::uint8_t *out, std::size_t capacity, std::size_t *len) {
            return fog_batch_message(handle_.get(), account.c_str(), nonce, expires_unix_ms, out,
                                     capacity, len);
        });
    }

    const fog_batch *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_batch, fog_batch_free>;

    batch &added(fog_status status) {
        detail::check(status);
        return *this;
    }

    template <class Call>
    static bytes sized(Call &&call) {
        std::size_t len = 0;
        const auto status = call(nullptr, 0, &len);
        if (status != FOG_STATUS_BUFFER_TOO_SMALL) {
            detail::check(status);
        }
        return detail::fill_bytes(len, call);
    }

    handle handle_;
};

/// The public key to an Ed25519 key's secret bytes.
inline key_bytes owner_key(const key_bytes &secret) {
    key_bytes key{};
    detail::check(fog_owner_key(secret.data(), secret.size(), key.data()));
    return key;
}

/// Checks that a checkpoint was signed by the key that is trusted, and says what it states.
inline checkpoint verify_checkpoint(bytes_view signed_checkpoint, const key_bytes &key) {
    const auto raw = detail::fill<fog_checkpoint>([&](fog_checkpoint *out) {
        return fog_checkpoint_verify(signed_checkpoint.data(), signed_checkpoint.size(),
                                     key.data(), key.size(), out);
    });
    return {{raw.head.sequence, raw.head.chain}, raw.unix_ms, raw.accounts_root};
}

/// What became of an operation.
struct receipt {
    /// Number of the entry in the history that it made, now or when it was first asked for.
    std::uint64_t sequence = 0;
    /// It was done before: nothing moved this time.
    bool replayed = false;
};

/// What a check of the history went through.
struct verification {
    std::uint64_t entries = 0;
    std::size_t accounts = 0;
    std::size_t open_reservations = 0;
};

/// The economy of a ledger: operators and those who stake on them, rewards for contributions, fees,
/// and the numbers that govern them. ledger::economy() gives it; the ledger must outlive it.
///
/// Each operation is one transaction; under one identifier it happens once. Staking and earning
/// never go back in time: before their last operation they throw clock_behind.
class economy {
public:
    /// Sets every number and rule, given as JSON text like that of default_economy_rules(), or just
    /// that. The first time founds the economy: an account is opened for each purse, and the
    /// initial supply is minted into the treasury.
    economy_receipt configure(const std::string &id,
                              const std::optional<std::string> &rules = std::nullopt) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_configure(handle_, id.c_str(), detail::optional(rules), out);
        });
    }

    /// Every number and rule as JSON text, once there is an economy.
    std::optional<std::string> rules() const {
        bool found = false;
        char *raw = nullptr;
        detail::check(fog_economy_rules(handle_, &raw, &found));
        if (!found) {
            return std::nullopt;
        }
        const detail::handle<char, fog_string_free> text(raw);
        return text.get();
    }

    /// Every number with its name and bounds, in a fixed order; none before there is an economy.
    std::vector<economy_parameter> parameters() const {
        return detail::fill_list<fog_parameter>(
            [&](fog_parameter *out, std::size_t capacity, std::size_t *count) {
                return fog_economy_parameters(handle_, out, capacity, count);
            });
    }

    /// Sets one number.
    economy_receipt set_parameter(const std::string &id, const std::string &name,
                                  const std::string &value) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_set_parameter(handle_, id.c_str(), name.c_str(), value.c_str(), out);
        });
    }

    /// Makes a node an operator that may be staked on. `account` receives its commission, so many
    /// millionths of every reward.
    economy_receipt register_operator(const std::string &id, const std::string &node,
                                      const std::string &account,
                                      std::uint32_t commission_ppm) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_register_operator(handle_, id.c_str(), node.c_str(), account.c_str(),
                                                 commission_ppm, out);
        });
    }

    /// Changes an operator's commission, in millionths: by little, and once in 24 hours.
    economy_receipt set_commission(const std::string &id, const std::string &node,
                                   std::uint32_t commission_ppm) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_set_commission(handle_, id.c_str(), node.c_str(), commission_ppm,
                                              out);
        });
    }

    /// Stakes on an operator.
    economy_receipt bond(const std::string &id, const std::string &node,
                         const std::string &delegator, const std::string &amount) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_bond(handle_, id.c_str(), node.c_str(), delegator.c_str(),
                                    amount.c_str(), out);
        });
    }

    /// Starts to take stake back, all of it if no amount is given. Time pays it out, less what
    /// slashes take until then.
    economy_receipt unbond(const std::string &id, const std::string &node,
                           const std::string &delegator,
                           const std::optional<std::string> &amount = std::nullopt) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_unbond(handle_, id.c_str(), node.c_str(), delegator.c_str(),
                                      detail::optional(amount), out);
        });
    }

    /// Returns stake on its way out to its operator, all of the entry if no amount is given.
    economy_receipt cancel_unbonding(
        const std::string &id, const std::string &node, const std::string &delegator,
        std::uint64_t entry, const std::optional<std::string> &amount = std::nullopt) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_cancel_unbonding(handle_, id.c_str(), node.c_str(),
                                                delegator.c_str(), entry, detail::optional(amount),
                                                out);
        });
    }

    /// Moves stake to another operator at once, all of it if no amount is given. Until it matures
    /// it answers for what the first operator did, and may not move on.
    economy_receipt redelegate(const std::string &id, const std::string &delegator,
                               const std::string &from_operator, const std::string &to_operator,
                               const std::optional<std::string> &amount = std::nullopt) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_redelegate(handle_, id.c_str(), delegator.c_str(),
                                          from_operator.c_str(), to_operator.c_str(),
                                          detail::optional(amount), out);
        });
    }

    /// Pays a delegator's rewards out.
    economy_receipt claim(const std::string &id, const std::string &node,
                          const std::string &delegator) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_claim(handle_, id.c_str(), node.c_str(), delegator.c_str(), out);
        });
    }

    /// Pays an operator's commission out.
    economy_receipt claim_commission(const std::string &id, const std::string &node) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_claim_commission(handle_, id.c_str(), node.c_str(), out);
        });
    }

    /// Shares a reward between an operator and its delegators. It is paid from an account, or from
    /// that of the treasury or the mint (purse_account_id()).
    economy_receipt reward(const std::string &id, const std::string &node,
                           const std::string &source, const std::string &amount) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_reward(handle_, id.c_str(), node.c_str(), source.c_str(),
                                      amount.c_str(), out);
        });
    }

    /// Punishes what an operator did at some time, in milliseconds since 1970, when it had `power`
    /// base units staked on it. Whether the evidence is true is for the caller to know.
    economy_receipt slash(const std::string &id, const std::string &node, evidence evidence_,
                          std::uint64_t infraction_unix_ms, const std::string &power) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_slash(handle_, id.c_str(), node.c_str(),
                                     static_cast<std::int32_t>(evidence_), infraction_unix_ms,
                                     power.c_str(), out);
        });
    }

    /// Lets an operator back whose time in jail is over.
    economy_receipt unjail(const std::string &id, const std::string &node) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_unjail(handle_, id.c_str(), node.c_str(), out);
        });
    }

    /// Pays a claim from the insurance fund, once.
    economy_receipt pay_insurance(const std::string &id, const std::string &claim,
                                  const std::string &to_account, const std::string &amount) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_pay_insurance(handle_, id.c_str(), claim.c_str(), to_account.c_str(),
                                             amount.c_str(), out);
        });
    }

    /// Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1000, a quality
    /// of 0.95 is 950.
    economy_receipt earn(const std::string &id, const std::string &rule, const std::string &account,
                         const std::map<std::string, std::uint64_t> &facts) const {
        const auto raw = detail::native(facts);
        return done([&](fog_economy_receipt *out) {
            return fog_economy_earn(handle_, id.c_str(), rule.c_str(), account.c_str(), raw.data(),
                                    raw.size(), out);
        });
    }

    /// Rewards a session of computing. Power and the sum of the bonuses are in thousandths, the
    /// duration is in milliseconds.
    economy_receipt earn_session(const std::string &id, const std::string &account,
                                 std::uint64_t power_milli, std::uint64_t duration_ms,
                                 std::uint32_t bonus_per_mille) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_earn_session(handle_, id.c_str(), account.c_str(), power_milli,
                                            duration_ms, bonus_per_mille, out);
        });
    }

    /// Pays a fee: treasury and sovereign fund have their parts, and the payee the rest.
    economy_receipt pay_fee(const std::string &id, const std::string &payer,
                            const std::string &payee, const std::string &amount) const {
        return done([&](fog_economy_receipt *out) {
            return fog_economy_pay_fee(handle_, id.c_str(), payer.c_str(), payee.c_str(),
                                       amount.c_str(), out);
        });
    }

    /// What an operation of the economy did that was asked for under that identifier, alone, in a
    /// batch or signed.
    std::optional<economy_receipt> receipt(const std::string &id) const {
        fog_economy_receipt raw{};
        const auto found = detail::fill<bool>(
            [&](bool *out) { return fog_economy_receipt_of(handle_, id.c_str(), &raw, out); });
        return found ? std::optional<economy_receipt>(detail::told(raw)) : std::nullopt;
    }

    /// An operator as it stands, if the node is one. (`operator` is a word of the language.)
    std::optional<economy_operator> operator_of(const std::string &node) const {
        fog_economy_operator raw{};
        const auto found = detail::fill<bool>(
            [&](bool *out) { return fog_economy_operator_of(handle_, node.c_str(), &raw, out); });
        return found ? std::optional<economy_operator>(detail::told(raw)) : std::nullopt;
    }

    /// Operators with an identifier above `after`, by identifier.
    std::vector<economy_operator> operators(
        const std::optional<std::string> &after = std::nullopt, std::size_t limit = 1000) const {
        return detail::fill_page<fog_economy_operator>(
            limit, [&](fog_economy_operator *out, std::size_t capacity, std::size_t *count) {
                return fog_economy_operators(handle_, detail::optional(after), out, capacity,
                                             count);
            });
    }

    /// What an account has at an operator; nothing if it never staked there.
    economy_stake stake(const std::string &node, const std::string &delegator) const {
        const auto raw = detail::fill<fog_stake>([&](fog_stake *out) {
            return fog_economy_stake(handle_, node.c_str(), delegator.c_str(), out);
        });
        return {raw.staked.text, raw.claimable.text};
    }

    /// An account's stake on its way out of an operator, oldest first.
    std::vector<unbonding> unbondings(const std::string &node,
                                      const std::string &delegator) const {
        return detail::fill_list<fog_unbonding>(
            [&](fog_unbonding *out, std::size_t capacity, std::size_t *count) {
                return fog_economy_unbondings(handle_, node.c_str(), delegator.c_str(), out,
                                              capacity, count);
            });
    }

    /// What an account was granted under a rule on this UTC day.
    std::string granted_today(const std::string &rule, const std::string &account) const {
        return detail::fill<fog_amount>([&](fog_amount *out) {
                   return fog_economy_granted_today(handle_, rule.c_str(), account.c_str(), out);
               }).text;
    }

private:
    friend class ledger;
    explicit economy(const fog_ledger *handle) noexcept : handle_(handle) {}

    template <class Call>
    static economy_receipt done(Call &&call) {
        return detail::told(detail::fill<fog_economy_receipt>(call));
    }

    const fog_ledger *handle_;
};

/// Governance of a ledger: proposals, votes, delegation and roles, by the rules of its economy
/// (parameters dao.*). ledger::governance() gives it; the ledger must outlive it.
///
/// What an account asks for must be signed by its owner (signature_required): batch::govern() adds
/// it to a batch that is signed. Only if the rules say otherwise may the host speak for accounts,
/// by ask(). Topics are kinds of proposals.
class governance {
public:
    /// Asks something of governance, in one transaction; under one identifier it happens once.
    economy_receipt ask(const std::string &id, const governance_request &request) const {
        return request.with([&](const fog_governance_request *raw) {
            return detail::told(detail::fill<fog_economy_receipt>([&](fog_economy_receipt *out) {
                return fog_governance_ask(handle_, id.c_str(), raw, out);
            }));
        });
    }

    /// A proposal as it stands, if there is one of that name.
    std::optional<fogcompute::proposal> proposal(const std::string &id) const {
        fog_proposal raw{};
        const auto found = detail::fill<bool>(
            [&](bool *out) { return fog_governance_proposal(handle_, id.c_str(), &raw, out); });
        return found ? std::optional<fogcompute::proposal>(detail::told(raw)) : std::nullopt;
    }

    /// What a proposal says as JSON text, if there is one of that name.
    std::optional<std::string> content(const std::string &proposal) const {
        bool found = false;
        char *raw = nullptr;
        detail::check(fog_governance_content(handle_, proposal.c_str(), &raw, &found));
        if (!found) {
            return std::nullopt;
        }
        const detail::handle<char, fog_string_free> text(raw);
        return text.get();
    }

    /// Proposals with an identifier above `after`, by identifier.
    std::vector<fogcompute::proposal> proposals(
        const std::optional<std::string> &after = std::nullopt, std::size_t limit = 1000) const {
        return detail::fill_page<fog_proposal>(
            limit, [&](fog_proposal *out, std::size_t capacity, std::size_t *count) {
                return fog_governance_proposals(handle_, detail::optional(after), out, capacity,
                                                count);
            });
    }

    /// What a voter has said about a proposal, if it has voted and the proposal is not over.
    std::optional<fogcompute::ballot> ballot(const std::string &proposal,
                                             const std::string &voter) const {
        fog_ballot raw{};
        const auto found = detail::fill<bool>([&](bool *out) {
            return fog_governance_ballot(handle_, proposal.c_str(), voter.c_str(), &raw, out);
        });
        return found ? std::optional<fogcompute::ballot>(detail::told(raw)) : std::nullopt;
    }

    /// Where an account stands on a topic: now (0), or at the end of a millisecond since 1970 that
    /// is past.
    voting_power power(const std::string &account, proposal_kind topic,
                       std::uint64_t unix_ms = 0) const {
        return detail::told(detail::fill<fog_voting_power>([&](fog_voting_power *out) {
            return fog_governance_power(handle_, account.c_str(), static_cast<std::int32_t>(topic),
                                        unix_ms, out);
        }));
    }

    /// All weight: now (0), or at the end of a millisecond since 1970 that is past.
    std::string total(std::uint64_t unix_ms = 0) const {
        return detail::fill<fog_amount>([&](fog_amount *out) {
                   return fog_governance_total(handle_, unix_ms, out);
               }).text;
    }

    /// What an account delegates on a topic.
    std::vector<delegated_part> delegation(const std::string &voter, proposal_kind topic) const {
        return detail::fill_list<fog_delegated_part>(
            [&](fog_delegated_part *out, std::size_t capacity, std::size_t *count) {
                return fog_governance_delegation(handle_, voter.c_str(),
                                                 static_cast<std::int32_t>(topic), out, capacity,
                                                 count);
            });
    }

    /// What an account is to governance.
    fogcompute::member member(const std::string &account) const {
        return detail::told(detail::fill<fog_member>([&](fog_member *out) {
            return fog_governance_member(handle_, account.c_str(), out);
        }));
    }

    /// Accounts with a role, by identifier.
    std::vector<role_holder> roles() const {
        return detail::fill_list<fog_role_holder>(
            [&](fog_role_holder *out, std::size_t capacity, std::size_t *count) {
                return fog_governance_roles(handle_, out, capacity, count);
            });
    }

    /// What governance is beside its proposals.
    governance_overview overview() const {
        return detail::told(detail::fill<fog_governance>(
            [&](fog_governance *out) { return fog_governance_overview(handle_, out); }));
    }

    /// What proposals have left behind, as JSON text: fog_governance_records() says how.
    std::string records() const {
        char *raw = nullptr;
        detail::check(fog_governance_records(handle_, &raw));
        const detail::handle<char, fog_string_free> text(raw);
        return text.get();
    }

private:
    friend class ledger;
    explicit governance(const fog_ledger *handle) noexcept : handle_(handle) {}

    const fog_ledger *handle_;
};

/// Double-entry credits in a file, or in memory. Every call is one transaction; the calls of
/// several threads take turns.
///
/// Identifiers are 32 hexadecimal digits, chosen by the caller; amounts decimal text of base units.
/// Asking again for the same operation under the same identifier moves nothing and succeeds.
class ledger {
public:
    /// Opens a ledger's file, or makes it.
    static ledger open(const std::string &path) {
        return ledger(detail::take<handle>(
            [&](fog_ledger **out) { return fog_ledger_open(path.c_str(), out); }));
    }

    /// The same with options: what a power cut may cost, and how many entries there are between two
    /// snapshots, which spare opening the whole history.
    static ledger open(const std::string &path, durability durability_,
                       std::uint64_t snapshot_entries = 131072) {
        return ledger(detail::take<handle>([&](fog_ledger **out) {
            return fog_ledger_open_with(path.c_str(), static_cast<std::int32_t>(durability_),
                                        snapshot_entries, out);
        }));
    }

    /// Opens a ledger's file that is there already, so that a mistyped name makes no new ledger.
    static ledger open_existing(const std::string &path, durability durability_ = durability::full,
                                std::uint64_t snapshot_entries = 131072) {
        return ledger(detail::take<handle>([&](fog_ledger **out) {
            return fog_ledger_open_existing(path.c_str(), static_cast<std::int32_t>(durability_),
                                            snapshot_entries, out);
        }));
    }

    /// A ledger that ends with this object.
    static ledger in_memory() { return ledger(detail::take<handle>(fog_ledger_in_memory)); }

    /// Opens an account for credits.
    receipt open_account(const std::string &id, account_kind kind) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_open_account(handle_.get(), id.c_str(),
                                           static_cast<std::int32_t>(kind), out);
        });
    }

    /// Moves an amount from one account to another. From an issuer it mints, to one it burns.
    receipt transfer(const std::string &id, const std::string &from, const std::string &to,
                     const std::string &amount) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_transfer(handle_.get(), id.c_str(), from.c_str(), to.c_str(),
                                       amount.c_str(), out);
        });
    }

    /// Holds an amount back for a later post() or void_().
    receipt reserve(const std::string &id, const std::string &from, const std::string &to,
                    const std::string &amount) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_reserve(handle_.get(), id.c_str(), from.c_str(), to.c_str(),
                                      amount.c_str(), out);
        });
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    receipt post(const std::string &id, const std::string &reservation,
                 const std::optional<std::string> &amount = std::nullopt) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_post(handle_.get(), id.c_str(), reservation.c_str(),
                                   amount ? amount->c_str() : nullptr, out);
        });
    }

    /// Releases a reservation. (`void` is a word of the language.)
    receipt void_(const std::string &id, const std::string &reservation) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_void(handle_.get(), id.c_str(), reservation.c_str(), out);
        });
    }

    /// What an account has, including what open reservations hold back.
    std::string balance(const std::string &id) const {
        return detail::fill<fog_amount>([&](fog_amount *out) {
                   return fog_ledger_balance(handle_.get(), id.c_str(), out);
               }).text;
    }

    /// What may be transferred or reserved from an account now: its balance less what open
    /// reservations hold back.
    std::string available(const std::string &id) const {
        return detail::fill<fog_amount>([&](fog_amount *out) {
                   return fog_ledger_available(handle_.get(), id.c_str(), out);
               }).text;
    }

    /// An account as it stands.
    fogcompute::account account(const std::string &id) const {
        const auto raw = detail::fill<fog_account>([&](fog_account *out) {
            return fog_ledger_account(handle_.get(), id.c_str(), out);
        });
        return detail::told(raw);
    }

    /// Accounts with an identifier above `after`, by identifier.
    std::vector<fogcompute::account> accounts(
        const std::optional<std::string> &after = std::nullopt, std::size_t limit = 1000) const {
        return detail::fill_page<fog_account>(
            limit, [&](fog_account *out, std::size_t capacity, std::size_t *count) {
                return fog_ledger_accounts(handle_.get(), after ? after->c_str() : nullptr, out,
                                           capacity, count);
            });
    }

    /// Executes a batch as a whole or not at all. Gives a receipt for each operation.
    std::vector<receipt> execute(const batch &operations) const {
        return done(operations.size(), [&](fog_receipt *out, std::size_t capacity) {
            return fog_ledger_execute(handle_.get(), operations.native_handle(), out, capacity);
        });
    }

    /// Executes a batch that the owner of an account has signed, as a whole or not at all.
    void execute_signed(bytes_view signed_batch) const {
        detail::check(fog_ledger_execute_signed(handle_.get(), signed_batch.data(),
                                                signed_batch.size(), nullptr, 0, nullptr));
    }

    /// Sets all limits of an account anew.
    receipt limit(const std::string &id, const std::string &account,
                  const account_limits &limits) const {
        const auto raw = detail::native(limits);
        return done([&](fog_receipt *out) {
            return fog_ledger_limit(handle_.get(), id.c_str(), account.c_str(), &raw, out);
        });
    }

    /// Closes an account for good.
    receipt close_account(const std::string &id, const std::string &account) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_close_account(handle_.get(), id.c_str(), account.c_str(), out);
        });
    }

    /// Registers the key whose signatures move an account's money.
    receipt own(const std::string &id, const std::string &account, const key_bytes &key) const {
        return done([&](fog_receipt *out) {
            return fog_ledger_own(handle_.get(), id.c_str(), account.c_str(), key.data(),
                                  key.size(), out);
        });
    }

    /// The key whose signatures move an account's money, if one was registered.
    std::optional<key_bytes> owner(const std::string &account) const {
        key_bytes key{};
        const auto found = detail::fill<bool>([&](bool *out) {
            return fog_ledger_owner(handle_.get(), account.c_str(), key.data(), out);
        });
        return found ? std::optional<key_bytes>(key) : std::nullopt;
    }

    /// Number of the next signature for an account.
    std::uint64_t next_nonce(const std::string &account) const {
        return detail::fill<std::uint64_t>([&](std::uint64_t *out) {
            return fog_ledger_next_nonce(handle_.get(), account.c_str(), out);
        });
    }

    /// What an account had received and given after the entry of that sequence, if it was open.
    std::optional<standing> balance_as_of(const std::string &account,
                                          std::uint64_t sequence) const {
        return then([&](fog_standing *out, bool *found) {
            return fog_ledger_balance_as_of(handle_.get(), account.c_str(), sequence, out, found);
        });
    }

    /// The same at a time, in milliseconds since 1970.
    std::optional<standing> balance_as_of_time(const std::string &account,
                                               std::uint64_t unix_ms) const {
        return then([&](fog_standing *out, bool *found) {
            return fog_ledger_balance_as_of_time(handle_.get(), account.c_str(), unix_ms, out,
                                                 found);
        });
    }

    /// What all holders of an asset have together; empty if it is too large to be counted.
    std::string supply(std::uint32_t asset = 0) const {
        return detail::fill<fog_amount>([&](fog_amount *out) {
                   return fog_ledger_supply(handle_.get(), asset, out);
               }).text;
    }

    /// The entry that an identifier was used for.
    std::optional<ledger_entry> entry(const std::string &id) const {
        fog_ledger_entry raw{};
        const auto found = detail::fill<bool>([&](bool *out) {
            return fog_ledger_entry_of(handle_.get(), id.c_str(), &raw, out);
        });
        return found ? std::optional<ledger_entry>(detail::told(raw)) : std::nullopt;
    }

    /// Entries after a sequence, in order.
    std::vector<ledger_entry> entries(std::uint64_t after = 0, std::size_t limit = 1000) const {
        return detail::fill_page<fog_ledger_entry>(
            limit, [&](fog_ledger_entry *out, std::size_t capacity, std::size_t *count) {
                return fog_ledger_entries(handle_.get(), after, out, capacity, count);
            });
    }

    /// Entries after a sequence that name an account, in order.
    std::vector<ledger_entry> history(const std::string &account, std::uint64_t after = 0,
                                      std::size_t limit = 1000) const {
        return detail::fill_page<fog_ledger_entry>(
            limit, [&](fog_ledger_entry *out, std::size_t capacity, std::size_t *count) {
                return fog_ledger_history(handle_.get(), account.c_str(), after, out, capacity,
                                          count);
            });
    }

    /// The economy of this ledger: staking, earning and parameters.
    fogcompute::economy economy() const noexcept { return fogcompute::economy(handle_.get()); }

    /// Governance of this ledger: proposals, votes, delegation and roles.
    fogcompute::governance governance() const noexcept {
        return fogcompute::governance(handle_.get());
    }

    /// The time at which an operation would happen now, in milliseconds since 1970: the wall
    /// clock's, or the one that was set.
    std::uint64_t now() const {
        return detail::fill<std::uint64_t>(
            [&](std::uint64_t *out) { return fog_ledger_now(handle_.get(), out); });
    }

    /// Lets everything happen at that time from now on, in milliseconds since 1970, for simulations
    /// and tests; 0 for the wall clock's again. Staking and earning never go back: before the time
    /// of their last operation they throw clock_behind.
    void set_time(std::uint64_t unix_ms) const {
        detail::check(fog_ledger_set_time(handle_.get(), unix_ms));
    }

    /// Does what time brings: releases the reservations whose time has come, pays out stake that
    /// has left and frees stake that has moved. Says how many they were.
    std::size_t expire() const {
        return detail::fill<std::size_t>(
            [&](std::size_t *out) { return fog_ledger_expire(handle_.get(), out); });
    }

    /// Where the history ends.
    ledger_head head() const {
        const auto raw = detail::fill<fog_ledger_head>(
            [&](fog_ledger_head *out) { return fog_ledger_end(handle_.get(), out); });
        return {raw.sequence, raw.chain};
    }

    /// A statement about the ledger as it is now, signed, for others to keep.
    bytes checkpoint(const key_bytes &secret) const {
        bytes out(FOG_CHECKPOINT_BYTES);
        detail::check(
            fog_ledger_checkpoint(handle_.get(), secret.data(), secret.size(), out.data()));
        return out;
    }

    /// Checks the whole history, and that it is the one of which `key` signed a checkpoint.
    verification verify_since(bytes_view signed_checkpoint, const key_bytes &key) const {
        const auto raw = detail::fill<fog_verification>([&](fog_verification *out) {
            return fog_ledger_verify_since(handle_.get(), signed_checkpoint.data(),
                                           signed_checkpoint.size(), key.data(), key.size(), out);
        });
        return {raw.entries, raw.accounts, raw.open_reservations};
    }

    /// SQLite's own check of pages, indexes and rows.
    void check_integrity() const { detail::check(fog_ledger_check_integrity(handle_.get())); }

    /// Makes a snapshot now, so that opening has nothing to carry out again.
    void snapshot() const { detail::check(fog_ledger_snapshot(handle_.get())); }

    /// Copies the ledger into a new file, which is a ledger of its own.
    void backup(const std::string &path) const {
        detail::check(fog_ledger_backup(handle_.get(), path.c_str()));
    }

    /// Writes the history into a new file as text; says how many entries that were.
    std::uint64_t export_history(const std::string &path,
                                 text_format format = text_format::of_name) const {
        return detail::fill<std::uint64_t>([&](std::uint64_t *out) {
            return fog_ledger_export(handle_.get(), path.c_str(),
                                     static_cast<std::int32_t>(format), out);
        });
    }

    /// Reads a history that export_history() wrote into this ledger, which must be empty.
    void import_history(const std::string &path,
                        text_format format = text_format::of_name) const {
        detail::check(fog_ledger_import(handle_.get(), path.c_str(),
                                        static_cast<std::int32_t>(format)));
    }

    /// Checks the whole history against its chain of digests and the balances.
    verification verify() const {
        const auto raw = detail::fill<fog_verification>([&](fog_verification *out) {
            return fog_ledger_verify(handle_.get(), out);
        });
        return {raw.entries, raw.accounts, raw.open_reservations};
    }

    const fog_ledger *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_ledger, fog_ledger_free>;
    explicit ledger(handle raw) noexcept : handle_(std::move(raw)) {}

    template <class Call>
    static receipt done(Call &&call) {
        const auto raw = detail::fill<fog_receipt>(call);
        return {raw.sequence, raw.replayed};
    }

    template <class Call>
    static std::vector<receipt> done(std::size_t count, Call &&call) {
        std::vector<fog_receipt> raw(count);
        detail::check(call(raw.data(), raw.size()));
        std::vector<receipt> receipts;
        receipts.reserve(count);
        for (const auto &one : raw) {
            receipts.push_back({one.sequence, one.replayed});
        }
        return receipts;
    }

    template <class Call>
    static std::optional<standing> then(Call &&call) {
        fog_standing raw{};
        const auto found = detail::fill<bool>([&](bool *out) { return call(&raw, out); });
        if (!found) {
            return std::nullopt;
        }
        return standing{raw.sequence, raw.credits_posted.text, raw.debits_posted.text,
                        raw.balance.text};
    }

    handle handle_;
};

// ---- harvesting -------------------------------------------------------------------------------

/// What kind of device this is. It decides what an unknown reading means.
enum class device_class : std::int32_t {
    phone = FOG_DEVICE_CLASS_PHONE,
    laptop = FOG_DEVICE_CLASS_LAPTOP,
    desktop = FOG_DEVICE_CLASS_DESKTOP,
    server = FOG_DEVICE_CLASS_SERVER,
};

/// How the device reaches other devices.
enum class network : std::int32_t {
    unknown = FOG_NETWORK_UNKNOWN,
    offline = FOG_NETWORK_OFFLINE,
    ethernet = FOG_NETWORK_ETHERNET,
    wifi = FOG_NETWORK_WIFI,
    cellular = FOG_NETWORK_CELLULAR,
};

/// Whether the device lends compute now.
enum class verdict : std::int32_t {
    allow = FOG_VERDICT_ALLOW,
    throttle = FOG_VERDICT_THROTTLE,
    refuse = FOG_VERDICT_REFUSE,
};

/// Nobody could say whether there is a battery.
struct battery_unknown {};

/// The device runs on mains power only.
struct battery_absent {};

/// A battery was read.
struct battery_present {
    /// Charge in percent, 0 to 100.
    double level_percent = 0;
    /// Whether the device is connected to power.
    bool charging = false;
};

/// The device's battery.
using battery = std::variant<battery_unknown, battery_absent, battery_present>;

/// Reads the battery. Runs on the thread that asked for the decision, which rethrows what it
/// throws.
using battery_probe = std::function<fogcompute::battery()>;

/// One reading of a device's sensors. Without a value, a reading could not be taken.
struct device_state {
    fogcompute::device_class device_class = fogcompute::device_class::phone;
    std::optional<std::uint32_t> cpu_cores;
    /// Share of all processors that the owner's own work uses, 0 to 1.
    std::optional<double> cpu_load;
    std::optional<std::uint64_t> memory_total_bytes;
    std::optional<std::uint64_t> memory_available_bytes;
    fogcompute::battery battery;
    std::optional<double> battery_temperature_celsius;
    std::optional<double> temperature_celsius;
    fogcompute::network network = fogcompute::network::unknown;
    /// Whether the network is paid for by volume.
    std::optional<bool> metered;
    std::optional<bool> screen_on;
    /// Time since the user last touched the device.
    std::optional<std::chrono::nanoseconds> user_idle;
    /// Local time of day in minutes since midnight, 0 to 1439.
    std::optional<std::uint16_t> minute_of_day;
};

/// How much may be used. All zero when refused.
struct budget {
    /// Share of all processors together, 0 to 1.
    double cpu_share = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t bandwidth_bits_per_second = 0;
};

/// One thing that contributed to a decision.
struct reason {
    /// A name for programs. It never changes.
    std::string code;
    /// The same for people.
    std::string text;
    /// Whether it alone is enough to refuse.
    bool objection = false;
};

/// What a policy answers about a device at one moment.
struct decision {
    fogcompute::verdict verdict = fogcompute::verdict::refuse;
    fogcompute::budget budget;
    std::vector<reason> reasons;
};

namespace detail {

inline fog_battery native(const battery &any) noexcept {
    fog_battery raw{};
    raw.kind = FOG_BATTERY_KIND_UNKNOWN;
    if (std::holds_alternative<battery_absent>(any)) {
        raw.kind = FOG_BATTERY_KIND_ABSENT;
    } else if (const auto *present = std::get_if<battery_present>(&any)) {
        raw.kind = FOG_BATTERY_KIND_PRESENT;
        raw.level_percent = present->level_percent;
        raw.charging = present->charging;
    }
    return raw;
}

template <class To, class From>
void put(bool &has, To &to, const std::optional<From> &from) noexcept {
    has = from.has_value();
    if (from) {
        to = *from;
    }
}

inline fog_device_state native(const device_state &state) {
    fog_device_state raw{};
    raw.device_class = static_cast<std::int32_t>(state.device_class);
    put(raw.has_cpu_cores, raw.cpu_cores, state.cpu_cores);
    put(raw.has_cpu_load, raw.cpu_load, state.cpu_load);
    put(raw.has_memory_total_bytes, raw.memory_total_bytes, state.memory_total_bytes);
    put(raw.has_memory_available_bytes, raw.memory_available_bytes,
        state.memory_available_bytes);
    raw.battery = native(state.battery);
    put(raw.has_battery_temperature_celsius, raw.battery_temperature_celsius,
        state.battery_temperature_celsius);
    put(raw.has_temperature_celsius, raw.temperature_celsius, state.temperature_celsius);
    raw.network = static_cast<std::int32_t>(state.network);
    put(raw.has_metered, raw.metered, state.metered);
    put(raw.has_screen_on, raw.screen_on, state.screen_on);
    raw.has_user_idle_ns = state.user_idle.has_value();
    raw.user_idle_ns = nanoseconds(state.user_idle.value_or(std::chrono::nanoseconds(0)));
    put(raw.has_minute_of_day, raw.minute_of_day, state.minute_of_day);
    return raw;
}

struct probe_call {
    const battery_probe *probe;
    std::exception_ptr thrown;

    static std::int32_t run(void *user_data, fog_battery *out) noexcept {
        auto &call = *static_cast<probe_call *>(user_data);
        try {
            *out = native((*call.probe)());
            return 0;
        } catch (...) {
            call.thrown = std::current_exception();
            return 1;
        }
    }
};

using decision_handle = handle<fog_decision, fog_decision_free>;

inline decision read_decision(const decision_handle &from) {
    decision result;
    result.verdict = static_cast<verdict>(fog_decision_verdict(from.get()));
    const auto raw = fill<fog_budget>(
        [&](fog_budget *out) { return fog_decision_budget(from.get(), out); });
    result.budget = {raw.cpu_share, raw.memory_bytes, raw.bandwidth_bits_per_second};
    for (std::size_t i = 0; i < fog_decision_reason_count(from.get()); i++) {
        const auto one = fill<fog_reason>(
            [&](fog_reason *out) { return fog_decision_reason(from.get(), i, out); });
        result.reasons.push_back({one.code, one.text, one.objection});
    }
    return result;
}

} // namespace detail

/// What the owner of a device permits.
class harvest_policy {
public:
    /// The policy that suits a phone which charges at night.
    harvest_policy() : handle_(detail::take<handle>(fog_harvest_policy_default)) {}

    /// The policy that always allows, and still names what the default would have objected to.
    static harvest_policy always() {
        return harvest_policy(detail::take<handle>(fog_harvest_policy_always));
    }

    /// The policy that suits a phone or a tablet: stricter about its battery, and with a daily quota
    /// of bytes.
    static harvest_policy phone() {
        return harvest_policy(detail::take<handle>(fog_harvest_policy_phone));
    }

    /// Reads a policy from TOML. What it does not name keeps its default.
    static harvest_policy from_toml(const std::string &text) {
        return harvest_policy(detail::take<handle>([&](fog_harvest_policy **out) {
            return fog_harvest_policy_from_toml(text.c_str(), out);
        }));
    }

    /// Reads a policy from TOML. What it does not name is as in this one, which stays as it is.
    harvest_policy with_toml(const std::string &text) const {
        return harvest_policy(detail::take<handle>([&](fog_harvest_policy **out) {
            return fog_harvest_policy_with_toml(handle_.get(), text.c_str(), out);
        }));
    }

    /// Decides on readings that were taken just now.
    decision decide(const device_state &state) const {
        const fog_device_state raw = detail::native(state);
        return detail::read_decision(
            detail::take<detail::decision_handle>([&](fog_decision **out) {
                return fog_harvest_policy_decide(handle_.get(), &raw, out);
            }));
    }

    /// The same with the battery read by `probe`.
    decision decide_with_probe(const device_state &state, const battery_probe &probe) const {
        if (!probe) {
            throw invalid_argument("the probe is empty");
        }
        const fog_device_state raw = detail::native(state);
        detail::probe_call call{&probe, nullptr};
        const fog_battery_probe raw_probe{detail::probe_call::run, &call};
        fog_decision *out = nullptr;
        const fog_status status =
            fog_harvest_policy_decide_with_probe(handle_.get(), &raw, &raw_probe, &out);
        const detail::decision_handle decided(out);
        detail::check(status, call.thrown);
        return detail::read_decision(decided);
    }

    const fog_harvest_policy *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_harvest_policy, fog_harvest_policy_free>;
    explicit harvest_policy(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

// ---- mesh -------------------------------------------------------------------------------------

/// What a `mesh_event` tells.
enum class mesh_kind : std::int32_t {
    /// Something that this header has no words for.
    unknown = FOG_MESH_KIND_UNKNOWN,
    peer_joined = FOG_MESH_KIND_PEER_JOINED,
    peer_left = FOG_MESH_KIND_PEER_LEFT,
    peer_changed = FOG_MESH_KIND_PEER_CHANGED,
    session_ready = FOG_MESH_KIND_SESSION_READY,
    public_message = FOG_MESH_KIND_PUBLIC,
    private_message = FOG_MESH_KIND_PRIVATE,
    delivery = FOG_MESH_KIND_DELIVERY,
    file = FOG_MESH_KIND_FILE,
    voice = FOG_MESH_KIND_VOICE,
    group = FOG_MESH_KIND_GROUP,
    group_message = FOG_MESH_KIND_GROUP_MESSAGE,
    call = FOG_MESH_KIND_CALL,
    other = FOG_MESH_KIND_OTHER,
    file_offered = FOG_MESH_KIND_FILE_OFFERED,
    file_progress = FOG_MESH_KIND_FILE_PROGRESS,
    file_received = FOG_MESH_KIND_FILE_RECEIVED,
    file_failed = FOG_MESH_KIND_FILE_FAILED,
    link_up = FOG_MESH_KIND_LINK_UP,
    link_down = FOG_MESH_KIND_LINK_DOWN,
    /// A radio of the program threw.
    radio_failed = FOG_MESH_KIND_RADIO_FAILED,
    /// What a neighbour did with a message of this node's.
    passed = FOG_MESH_KIND_PASSED,
};

/// How far a message has come.
enum class delivery_state : std::int32_t {
    waiting = FOG_DELIVERY_STATE_WAITING,
    sent = FOG_DELIVERY_STATE_SENT,
    relayed = FOG_DELIVERY_STATE_RELAYED,
    delivered = FOG_DELIVERY_STATE_DELIVERED,
    read = FOG_DELIVERY_STATE_READ,
    given_up = FOG_DELIVERY_STATE_GIVEN_UP,
};

/// Why a file was given up.
enum class mesh_file_end : std::int32_t {
    unknown = FOG_MESH_FILE_END_UNKNOWN,
    missing = FOG_MESH_FILE_END_MISSING,
    silent = FOG_MESH_FILE_END_SILENT,
    disk = FOG_MESH_FILE_END_DISK,
};

/// What a neighbour did with a message of this node's.
enum class mesh_passing : std::int32_t {
    unknown = FOG_PASSING_UNKNOWN,
    given = FOG_PASSING_GIVEN,
    passed_on = FOG_PASSING_PASSED_ON,
    has = FOG_PASSING_HAS,
    carries = FOG_PASSING_CARRIES,
};

/// What a private message, or one to a group, was encrypted with.
enum class mesh_protection : std::int32_t {
    unknown = FOG_PROTECTION_UNKNOWN,
    noise = FOG_PROTECTION_NOISE,
    ratchet = FOG_PROTECTION_RATCHET,
    group_key = FOG_PROTECTION_GROUP_KEY,
    sender_key = FOG_PROTECTION_SENDER_KEY,
};

/// Something that happened to a mesh node. What its kind does not have is empty, false or 0.
struct mesh_event {
    mesh_kind kind = mesh_kind::unknown;
    /// Whom it is about: who wrote, sent, offers, joined. 16 hexadecimal digits.
    std::string peer;
    /// What a message is known by.
    std::string id;
    /// A message's text; the name of a file, which came from somebody else: no path to write to; or
    /// what a radio threw.
    std::string text;
    /// A file's media type.
    std::string mime;
    /// The neighbour a message came from, if it is known.
    std::string via;
    /// The group: 32 hexadecimal digits.
    std::string group;
    /// What names a file that goes in chunks: 64 hexadecimal digits.
    std::string file;
    /// Where a file is that is whole.
    std::string path;
    /// Of `delivery`.
    delivery_state state = delivery_state::waiting;
    /// Of `file_failed`.
    mesh_file_end why = mesh_file_end::unknown;
    /// Of `passed`.
    mesh_passing passing = mesh_passing::unknown;
    /// Of `private_message`.
    mesh_protection protection = mesh_protection::unknown;
    /// Whether it is for this peer alone.
    bool is_private = false;
    /// Whether a file goes from here.
    bool is_sent = false;
    /// Hops that a message seems to have taken; 0 if somebody carried it. Nothing proves the number.
    std::uint8_t hops = 0;
    /// When a message was written, says its writer, in milliseconds since 1970.
    std::uint64_t unix_ms = 0;
    /// Bytes of a file that have come, or were asked for and sent.
    std::uint64_t done = 0;
    /// Bytes of a file.
    std::uint64_t length = 0;
    /// The number of a link, of a radio (0 is the first one), or of the type of something unknown.
    std::uint64_t number = 0;
    /// The content of a file that came in one piece, the key that a session proved, or the body of
    /// what is encoded.
    bytes content;
};

/// What is known of a peer of a mesh.
struct mesh_peer {
    /// Who: 16 hexadecimal digits.
    std::string id;
    /// What it wants to be called.
    std::string nickname;
    /// Its key for sessions.
    std::array<std::uint8_t, FOG_KEY_BYTES> noise_key{};
    /// Whether it was heard of in the last minute.
    bool is_reachable = false;
    /// Whether it has a link here.
    bool is_linked = false;
    /// Whether there is a session with it.
    bool has_session = false;
    /// Whether private messages to it are under keys of their own.
    bool has_ratchet = false;
    /// Whom it has links to, says it.
    std::vector<std::string> neighbours;
};

/// A group of a mesh that this peer is in.
struct mesh_group {
    /// The group: 32 hexadecimal digits.
    std::string id;
    /// What it is called.
    std::string name;
    /// Who is in it, the one who made it first.
    std::vector<std::string> members;
    /// Whether each writes under a key of its own.
    bool is_large = false;
};

/// A message of a node's history.
struct mesh_message {
    /// Its number: what came or was sent later has a higher one.
    std::uint64_t number = 0;
    /// What sender and receiver know it by.
    std::string id;
    /// Who wrote it; of a private one from here, whom it is for.
    std::string peer;
    /// Whether it was written here.
    bool is_own = false;
    /// Whether it is for one peer.
    bool is_private = false;
    /// The group it is for; empty if it is for none.
    std::string group;
    /// Its text.
    std::string text;
    /// When it was written, says its writer, in milliseconds since 1970.
    std::uint64_t unix_ms = 0;
    /// How far one from here has come.
    delivery_state state = delivery_state::waiting;
    /// The neighbour it came from; empty if it is not known.
    std::string via;
    /// Hops it seems to have taken; 0 if that is not known.
    std::uint8_t hops = 0;
};

using mesh_stats = fog_mesh_stats;

/// Where a radio tells what happens, from any thread. Peers are bytes, as the radio names them, at
/// most 64; connections are numbers, none of which is used twice.
class radio_inbox {
public:
    /// Bluetooth was turned on or off. A radio begins on. When it goes off its connections have
    /// ended, and it is told to advertise and to scan again when it is on.
    void adapter(bool is_on) const { detail::check(fog_radio_inbox_adapter(get(), is_on)); }

    /// An advert with the service was heard, so loud in dBm. False when as much waits as may: it
    /// was not taken, and comes again.
    bool discovered(bytes_view peer, std::int16_t rssi_dbm, bytes_view service_data = {}) const {
        return detail::fill<bool>([&](bool *taken) {
            return fog_radio_inbox_discovered(get(), peer.data(), peer.size(), rssi_dbm,
                                              service_data.data(), service_data.size(), taken);
        });
    }

    /// There is a connection, which this side began (it is the central) or the other.
    void connected(std::uint64_t link, bytes_view peer, bool is_central, std::uint16_t mtu) const {
        detail::check(fog_radio_inbox_connected(get(), link, peer.data(), peer.size(), is_central,
                                                mtu));
    }

    /// A connection that was asked for could not be made.
    void connect_failed(bytes_view peer) const {
        detail::check(fog_radio_inbox_connect_failed(get(), peer.data(), peer.size()));
    }

    /// Another MTU was agreed on.
    void mtu_changed(std::uint64_t link, std::uint16_t mtu) const {
        detail::check(fog_radio_inbox_mtu_changed(get(), link, mtu));
    }

    /// Notifications go now: to the peer where this side is the peripheral, from it where it is the
    /// central.
    void subscribed(std::uint64_t link) const {
        detail::check(fog_radio_inbox_subscribed(get(), link));
    }

    /// They go no more.
    void unsubscribed(std::uint64_t link) const {
        detail::check(fog_radio_inbox_unsubscribed(get(), link));
    }

    /// A value came: a write to this side, or a notification. False when as much waits as may: end
    /// the connection then, or do not answer the write.
    bool received(std::uint64_t link, bytes_view value) const {
        return detail::fill<bool>([&](bool *taken) {
            return fog_radio_inbox_received(get(), link, value.data(), value.size(), taken);
        });
    }

    /// After a write or notification was refused: there is room again.
    void writable(std::uint64_t link) const {
        detail::check(fog_radio_inbox_writable(get(), link));
    }

    /// A connection has ended, by this side or not.
    void disconnected(std::uint64_t link, bool by_this_side) const {
        detail::check(fog_radio_inbox_disconnected(get(), link, by_this_side));
    }

    /// Scanning, or advertising, ended, and not because it was told to. It is told to again after a
    /// while.
    void stopped(bool is_scanning) const {
        detail::check(fog_radio_inbox_stopped(get(), is_scanning));
    }

    const fog_radio_inbox *native_handle() const noexcept { return get(); }

    /// Takes an inbox over that C was given.
    explicit radio_inbox(fog_radio_inbox *raw) noexcept : handle_(raw) {}

private:
    const fog_radio_inbox *get() const noexcept { return handle_.get(); }
    detail::handle<fog_radio_inbox, fog_radio_inbox_free> handle_;
};

/// A Bluetooth radio with the service of BitChat, written by the program.
///
/// The service is F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C, its one characteristic
/// A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D: written with and without response, and notified. Values
/// have at most 512 bytes, and 3 less than the MTU. Over one connection they arrive whole, once and
/// in order.
///
/// All functions but attach() and those of its limits run on the node's thread, one at a time; they
/// return at once, and what comes of them is told to the inbox. What one throws is told as
/// `radio_failed`: what it was asked is not done, on a connection that one ends, and nothing else.
class radio {
public:
    virtual ~radio() = default;

    /// Whether it scans and connects.
    virtual bool is_central() const = 0;
    /// Whether it advertises and is connected to.
    virtual bool is_peripheral() const = 0;
    /// Most connections at once, in both roles together.
    virtual std::size_t links_max() const = 0;
    /// Where to tell what happens, from any thread. Runs once, before all others, on the thread that
    /// adds the radio.
    virtual void attach(std::shared_ptr<const radio_inbox> inbox) = 0;
    /// Can be found from now on, by the service and, where the system lets it, this service data,
    /// which may be empty. Connections of others are taken.
    virtual void advertise(bytes_view service_data) = 0;
    /// Can not be found any more; connections stay.
    virtual void stop_advertising() = 0;
    /// Looks for others with the service.
    virtual void scan() = 0;
    /// Looks no more.
    virtual void stop_scanning() = 0;
    /// Connects to a peer that was heard, as its central, unless it does already. False if the peer
    /// is not known.
    virtual bool connect(bytes_view peer) = 0;
    /// Ends a connection, of whichever role. One that is not there is not an error.
    virtual void disconnect(std::uint64_t link) = 0;
    /// Writes a value, as the central. False if there is no room now: `writable` is told when there
    /// is.
    virtual bool write(std::uint64_t link, bytes_view value, bool with_response) = 0;
    /// Notifies a value, as the peripheral. False if there is no room now: `writable` is told when
    /// there is.
    virtual bool notify(std::uint64_t link, bytes_view value) = 0;
    /// The node has ended, or does not take the radio: ends all connections and is quiet. Runs once,
    /// last; nobody hears what it throws.
    virtual void detach() = 0;
};

namespace detail {

/// A radio while the library has it.
struct hosted_radio {
    std::shared_ptr<fogcompute::radio> radio;
    std::shared_ptr<const radio_inbox> inbox;
    /// What attach() threw, and whether it ran, for the thread that waits for it.
    std::exception_ptr *thrown = nullptr;
    bool *was_attached = nullptr;

    /// What a callback returns, and what it says when the radio throws.
    template <class Act>
    static std::int32_t run(void *user_data, Act &&act) noexcept {
        auto &self = *static_cast<hosted_radio *>(user_data);
        try {
            return act(*self.radio) ? 0 : FOG_RADIO_REFUSED;
        } catch (const std::exception &exception) {
            fog_radio_inbox_failing(self.inbox->native_handle(), exception.what());
        } catch (...) {
            fog_radio_inbox_failing(self.inbox->native_handle(), "unknown exception");
        }
        return -1;
    }

    static std::int32_t attach(void *user_data, fog_radio_inbox *raw) noexcept {
        auto &self = *static_cast<hosted_radio *>(user_data);
        handle<fog_radio_inbox, fog_radio_inbox_free> owned(raw);
        *self.was_attached = true;
        try {
            self.inbox = std::make_shared<const radio_inbox>(owned.get());
            static_cast<void>(owned.release());
            self.radio->attach(self.inbox);
            return 0;
        } catch (...) {
            *self.thrown = std::current_exception();
            return -1;
        }
    }

    static std::int32_t advertise(void *user_data, const std::uint8_t *data,
                                  std::size_t len) noexcept {
        return run(user_data, [&](fogcompute::radio &radio) {
            radio.advertise({data, len});
            return true;
        });
    }

    static std::int32_t stop_advertising(void *user_data) noexcept {
        return run(user_data, [](fogcompute::radio &radio) {
            radio.stop_advertising();
            return true;
        });
    }

    static std::int32_t scan(void *user_data) noexcept {
        return run(user_data, [](fogcompute::radio &radio) {
            radio.scan();
            return true;
        });
    }

    static std::int32_t stop_scanning(void *user_data) noexcept {
        return run(user_data, [](fogcompute::radio &radio) {
            radio.stop_scanning();
            return true;
        });
    }

    static std::int32_t connect(void *user_data, const std::uint8_t *peer,
                                std::size_t len) noexcept {
        return run(user_data,
                   [&](fogcompute::radio &radio) { return radio.connect({peer, len}); });
    }

    static std::int32_t disconnect(void *user_data, std::uint64_t link) noexcept {
        return run(user_data, [&](fogcompute::radio &radio) {
            radio.disconnect(link);
            return true;
        });
    }

    static std::int32_t write(void *user_data, std::uint64_t link, const std::uint8_t *value,
                              std::size_t len, bool with_response) noexcept {
        return run(user_data, [&](fogcompute::radio &radio) {
            return radio.write(link, {value, len}, with_response);
        });
    }

    static std::int32_t notify(void *user_data, std::uint64_t link, const std::uint8_t *value,
                               std::size_t len) noexcept {
        return run(user_data,
                   [&](fogcompute::radio &radio) { return radio.notify(link, {value, len}); });
    }

    static void detach(void *user_data) noexcept {
        const std::unique_ptr<hosted_radio> self(static_cast<hosted_radio *>(user_data));
        try {
            self->radio->detach();
        } catch (...) {
            // Nobody is there to be told.
        }
    }
};

inline std::string text_or_empty(const char *text) { return text == nullptr ? "" : text; }

inline mesh_event read_event(const fog_mesh_event *from) {
    const auto parts = fill<fog_mesh_event_parts>(
        [&](fog_mesh_event_parts *out) { return fog_mesh_event_read(from, out); });
    mesh_event event;
    event.kind = static_cast<mesh_kind>(parts.kind);
    event.peer = text_or_empty(parts.peer);
    event.id = text_or_empty(parts.id);
    event.text = text_or_empty(parts.text);
    event.mime = text_or_empty(parts.mime);
    event.via = text_or_empty(parts.via);
    event.group = text_or_empty(parts.group);
    event.file = text_or_empty(parts.file);
    event.path = text_or_empty(parts.path);
    event.state = static_cast<delivery_state>(parts.state);
    event.why = static_cast<mesh_file_end>(parts.why);
    event.passing = static_cast<mesh_passing>(parts.passing);
    event.protection = static_cast<mesh_protection>(parts.protection);
    event.is_private = parts.is_private;
    event.is_sent = parts.is_sent;
    event.hops = parts.hops;
    event.unix_ms = parts.unix_ms;
    event.done = parts.done;
    event.length = parts.length;
    event.number = parts.number;
    if (parts.content_len != 0) {
        event.content.assign(parts.content, parts.content + parts.content_len);
    }
    return event;
}

inline std::vector<std::string> peer_texts(const fog_peer_id *peers, std::size_t len) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < len; i++) {
        texts.emplace_back(peers[i].text);
    }
    return texts;
}

inline void run_readable(void *user_data) noexcept {
    const std::unique_ptr<std::function<void()>> readable(
        static_cast<std::function<void()> *>(user_data));
    (*readable)();
}

} // namespace detail

/// How a mesh node is made.
struct mesh_node_config {
    /// Where it keeps its secrets, what waits to be delivered, and its messages; empty makes it a
    /// new peer that forgets everything.
    std::string file;
    /// Events that wait to be received. When there are more, the oldest are dropped.
    std::size_t events_max = 4096;
    /// A key of random bytes that the members of a fog share: the node talks to them alone, sealed
    /// on the air and under identifiers that change. Without, it talks to everybody.
    std::optional<std::array<std::uint8_t, FOG_KEY_BYTES>> fog_key = std::nullopt;
    /// How long such an identifier lasts, and at least ten seconds. All members must say the same.
    std::chrono::milliseconds fog_period = std::chrono::minutes(15);
};

/// A peer of a BitChat mesh that runs on a thread of this process: over TCP, over radios, and to
/// other nodes of the program. Destroying it closes it.
///
/// What it says was sent or received is on disk, if it has a file: started again with the same file
/// it is the same peer, goes on delivering what waited, and shows nothing twice. But for receive(),
/// its functions do not wait for the network.
class mesh_node {
public:
    /// Starts a node. One that has a file is called what it was before if `nickname` is empty.
    explicit mesh_node(const std::string &nickname, const mesh_node_config &config = {})
        : handle_(detail::take<handle>([&](fog_mesh_node **out) {
              auto raw = detail::fill<fog_mesh_node_config>(fog_mesh_node_config_default);
              raw.file = config.file.empty() ? nullptr : config.file.c_str();
              raw.events_max = config.events_max;
              if (config.fog_key) {
                  raw.fog_key = config.fog_key->data();
                  raw.fog_key_len = config.fog_key->size();
              }
              if (config.fog_period.count() < 0) {
                  throw invalid_argument("a duration is negative");
              }
              raw.fog_period_ms = static_cast<std::uint64_t>(config.fog_period.count());
              return fog_mesh_node_start(nickname.c_str(), &raw, out);
          })) {}

    /// Who this is: 16 hexadecimal digits.
    std::string id() const {
        return detail::fill<fog_peer_id>([&](fog_peer_id *out) {
                   return fog_mesh_node_id(handle_.get(), out);
               }).text;
    }

    /// What this peer is called on the air now: something else after a while if it talks only to the
    /// members of a fog, and id() if not.
    std::string air_id() const {
        return detail::fill<fog_peer_id>([&](fog_peer_id *out) {
                   return fog_mesh_node_air_id(handle_.get(), out);
               }).text;
    }

    /// What this peer is called.
    std::string nickname() const {
        return owned([&](char **out) { return fog_mesh_node_nickname(handle_.get(), out); });
    }

    /// Gives this peer another name.
    void set_nickname(const std::string &nickname) const {
        detail::check(fog_mesh_node_set_nickname(handle_.get(), nickname.c_str()));
    }

    /// Accepts TCP links at an address; returns it, with the port that was chosen where 0 was asked
    /// for.
    std::string listen(const std::string &address = "127.0.0.1:0") const {
        return detail::fill<fog_address>([&](fog_address *out) {
                   return fog_mesh_node_listen(handle_.get(), address.c_str(), out);
               }).text;
    }

    /// Keeps a TCP link with whoever answers at an address: it is dialled again when it ends.
    void connect(const std::string &address) const {
        detail::check(fog_mesh_node_connect(handle_.get(), address.c_str()));
    }

    /// Keeps no link with an address any more. False if it kept none.
    bool disconnect(const std::string &address) const {
        return detail::fill<bool>([&](bool *was) {
            return fog_mesh_node_disconnect(handle_.get(), address.c_str(), was);
        });
    }

    /// Makes a link to another node of this program, without any socket.
    void link_with(const mesh_node &other) const {
        detail::check(fog_mesh_node_link_with(handle_.get(), other.handle_.get()));
    }

    /// Talks over a radio too. What its attach() throws is thrown here.
    void add_radio(std::shared_ptr<radio> added) const {
        if (!added) {
            throw invalid_argument("the radio is empty");
        }
        std::exception_ptr thrown;
        auto hosted = std::make_unique<detail::hosted_radio>();
        using host = detail::hosted_radio;
        const fog_radio raw{added->is_central(),
                            added->is_peripheral(),
                            added->links_max(),
                            hosted.get(),
                            host::attach,
                            host::advertise,
                            host::stop_advertising,
                            host::scan,
                            host::stop_scanning,
                            host::connect,
                            host::disconnect,
                            host::write,
                            host::notify,
                            host::detach};
        bool was_attached = false;
        hosted->radio = std::move(added);
        hosted->thrown = &thrown;
        hosted->was_attached = &was_attached;
        const fog_status status = fog_mesh_node_add_radio(handle_.get(), &raw);
        if (was_attached) {
            // detach() destroys it, and may have done so already.
            static_cast<void>(hosted.release());
        }
        detail::check(status, thrown);
    }

    /// Writes to everybody near; returns what the message is known by.
    std::string send_public(const std::string &text) const {
        return owned([&](char **id) {
            return fog_mesh_node_send_public(handle_.get(), text.c_str(), id);
        });
    }

    /// Writes to one peer; returns what the message is known by. It is kept, and on disk if there is
    /// a file, and sent until the peer has it or a day has passed.
    std::string send_private(const std::string &peer, const std::string &text) const {
        return owned([&](char **id) {
            return fog_mesh_node_send_private(handle_.get(), peer.c_str(), text.c_str(), id);
        });
    }

    /// Tells a peer that the user saw its message.
    void mark_read(const std::string &peer, const std::string &id) const {
        detail::check(fog_mesh_node_mark_read(handle_.get(), peer.c_str(), id.c_str()));
    }

    /// Makes a group of this peer and others who are known, and invites them; returns its
    /// identifier.
    std::string create_group(const std::string &name,
                             const std::vector<std::string> &members) const {
        const auto raw = peers_of(members);
        return detail::fill<fog_id>([&](fog_id *out) {
                   return fog_mesh_node_create_group(handle_.get(), name.c_str(), raw.data(),
                                                     raw.size(), out);
               }).text;
    }

    /// Makes a group of up to 255, each of whom writes under a key of its own; returns its identifier.
    /// All have to be of this library; they are told when they are there. It is changed, written to
    /// and left as any other.
    std::string create_large_group(const std::string &name,
                                   const std::vector<std::string> &members) const {
        const auto raw = peers_of(members);
        return detail::fill<fog_id>([&](fog_id *out) {
                   return fog_mesh_node_create_large_group(handle_.get(), name.c_str(), raw.data(),
                                                           raw.size(), out);
               }).text;
    }

    /// Changes who is in a group of this peer's, and gives it another key, which those who are not
    /// in it any more do not get.
    void change_group(const std::string &group, const std::vector<std::string> &members) const {
        const auto raw = peers_of(members);
        detail::check(fog_mesh_node_change_group(handle_.get(), group.c_str(), raw.data(),
                                                 raw.size()));
    }

    /// Leaves a group; nobody is told. False if this peer is in no such group.
    bool leave_group(const std::string &group) const {
        return detail::fill<bool>([&](bool *was) {
            return fog_mesh_node_leave_group(handle_.get(), group.c_str(), was);
        });
    }

    /// Writes to a group; returns what the message is known by.
    std::string send_group(const std::string &group, const std::string &text) const {
        return owned([&](char **id) {
            return fog_mesh_node_send_group(handle_.get(), group.c_str(), text.c_str(), id);
        });
    }

    /// Groups this peer is in.
    std::vector<mesh_group> groups() const {
        using list = detail::handle<fog_mesh_groups, fog_mesh_groups_free>;
        const auto raw = detail::take<list>(
            [&](fog_mesh_groups **out) { return fog_mesh_node_groups(handle_.get(), out); });
        std::vector<mesh_group> groups;
        for (std::size_t i = 0; i < fog_mesh_groups_count(raw.get()); i++) {
            const auto one = detail::fill<fog_mesh_group>([&](fog_mesh_group *out) {
                return fog_mesh_groups_read(raw.get(), i, out);
            });
            groups.push_back({one.id.text, one.name,
                              detail::peer_texts(one.members, one.members_len), one.is_large});
        }
        return groups;
    }

    /// Sends a file of at most a MiB in one piece to one peer, or with an empty one to everybody
    /// near. It is sent once; what is lost is not sent again.
    void send_file(const std::string &peer, bytes_view content, const std::string &name = "",
                   const std::string &mime = "") const {
        const auto given = [](const std::string &text) {
            return text.empty() ? nullptr : text.c_str();
        };
        detail::check(fog_mesh_node_send_file(handle_.get(), given(peer), content.data(),
                                              content.size(), given(name), given(mime)));
    }

    /// Offers a file on disk of at most a GiB to a peer, which takes it in chunks, when it wants;
    /// returns what the file is known by. It is read when it is asked for: leave it as it is until
    /// then. Only peers of this library understand.
    std::string offer_file(const std::string &peer, const std::string &path,
                           const std::string &mime = "application/octet-stream") const {
        return detail::fill<fog_file_id>([&](fog_file_id *out) {
                   return fog_mesh_node_offer_file(handle_.get(), peer.c_str(), path.c_str(),
                                                   mime.c_str(), out);
               }).text;
    }

    /// Takes a file that was offered, and writes it to a path: to that with .part behind it until it
    /// is whole.
    void accept_file(const std::string &file, const std::string &path) const {
        detail::check(fog_mesh_node_accept_file(handle_.get(), file.c_str(), path.c_str()));
    }

    /// Offers a file no longer, or does not take the rest of it. False if there is no such file.
    bool cancel_file(const std::string &file) const {
        return detail::fill<bool>([&](bool *was) {
            return fog_mesh_node_cancel_file(handle_.get(), file.c_str(), was);
        });
    }

    /// Peers that are known.
    std::vector<mesh_peer> peers() const {
        using list = detail::handle<fog_mesh_peers, fog_mesh_peers_free>;
        const auto raw = detail::take<list>(
            [&](fog_mesh_peers **out) { return fog_mesh_node_peers(handle_.get(), out); });
        std::vector<mesh_peer> peers;
        for (std::size_t i = 0; i < fog_mesh_peers_count(raw.get()); i++) {
            const auto one = detail::fill<fog_mesh_peer>([&](fog_mesh_peer *out) {
                return fog_mesh_peers_read(raw.get(), i, out);
            });
            mesh_peer peer;
            peer.id = one.id.text;
            peer.nickname = one.nickname;
            std::copy(std::begin(one.noise_key), std::end(one.noise_key), peer.noise_key.begin());
            peer.is_reachable = one.is_reachable;
            peer.is_linked = one.is_linked;
            peer.has_session = one.has_session;
            peer.has_ratchet = one.has_ratchet;
            peer.neighbours = detail::peer_texts(one.neighbours, one.neighbours_len);
            peers.push_back(std::move(peer));
        }
        return peers;
    }

    /// The newest messages with numbers below `before`, the newest first. Without a file those since
    /// the start.
    std::vector<mesh_message> history(std::size_t limit = 100,
                                      std::uint64_t before = UINT64_MAX) const {
        return messages([&](fog_mesh_messages **out) {
            return fog_mesh_node_history(handle_.get(), before, limit, out);
        });
    }

    /// The same, of the messages from and to one peer.
    std::vector<mesh_message> history_with_peer(const std::string &peer, std::size_t limit = 100,
                                                std::uint64_t before = UINT64_MAX) const {
        return messages([&](fog_mesh_messages **out) {
            return fog_mesh_node_history_with_peer(handle_.get(), peer.c_str(), before, limit, out);
        });
    }

    /// The same, of the messages of one group.
    std::vector<mesh_message> history_of_group(const std::string &group, std::size_t limit = 100,
                                               std::uint64_t before = UINT64_MAX) const {
        return messages([&](fog_mesh_messages **out) {
            return fog_mesh_node_history_of_group(handle_.get(), group.c_str(), before, limit, out);
        });
    }

    /// Deletes a message from the history, by its number; from here alone. Says whether there was one.
    bool delete_message(std::uint64_t number) const {
        return detail::fill<bool>([&](bool *was) {
            return fog_mesh_node_delete_message(handle_.get(), number, was);
        });
    }

    /// What it counted since its start.
    mesh_stats stats() const {
        return detail::fill<fog_mesh_stats>(
            [&](fog_mesh_stats *out) { return fog_mesh_node_stats(handle_.get(), out); });
    }

    /// How often its rules did, or refused, something since its start, such as "received".
    std::uint64_t counter(const std::string &name) const {
        return detail::fill<std::uint64_t>([&](std::uint64_t *out) {
            return fog_mesh_node_counter(handle_.get(), name.c_str(), out);
        });
    }

    /// The next event. Waits for it if there is none; nothing if none came in time. Throws `closed`
    /// when there is none and none will come.
    std::optional<mesh_event> receive(std::chrono::nanoseconds timeout) const {
        const auto timeout_ns = detail::nanoseconds(timeout);
        const auto event = detail::take<detail::handle<fog_mesh_event, fog_mesh_event_free>>(
            [&](fog_mesh_event **out) {
                return fog_mesh_node_receive(handle_.get(), timeout_ns, out);
            });
        if (!event) {
            return std::nullopt;
        }
        return detail::read_event(event.get());
    }

    /// Has a function run, once, on a thread of the library, as soon as there is an event to
    /// receive, or none will come: to wake a loop that then takes events by receive() without
    /// waiting, until there is none, and calls this again. It must not throw.
    void when_readable(std::function<void()> readable) const {
        if (!readable) {
            throw invalid_argument("the function is empty");
        }
        auto kept = std::make_unique<std::function<void()>>(std::move(readable));
        detail::check(
            fog_mesh_node_when_readable(handle_.get(), detail::run_readable, kept.get()));
        // Accepted: the callback destroys it, and may have done so already.
        static_cast<void>(kept.release());
    }

    /// Says goodbye, lets what waits leave for at most two seconds, and ends the node. Events that
    /// came before can still be received. Closing again does nothing.
    void close() const { detail::check(fog_mesh_node_close(handle_.get())); }

    const fog_mesh_node *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_mesh_node, fog_mesh_node_free>;

    template <class Call>
    static std::vector<mesh_message> messages(Call &&call) {
        using list = detail::handle<fog_mesh_messages, fog_mesh_messages_free>;
        const auto raw = detail::take<list>(call);
        std::vector<mesh_message> messages;
        for (std::size_t i = 0; i < fog_mesh_messages_count(raw.get()); i++) {
            const auto one = detail::fill<fog_mesh_message>([&](fog_mesh_message *out) {
                return fog_mesh_messages_read(raw.get(), i, out);
            });
            messages.push_back({one.number, one.id, one.peer.text, one.is_own, one.is_private,
                                one.group, one.text, one.unix_ms,
                                static_cast<delivery_state>(one.state), one.via, one.hops});
        }
        return messages;
    }

    template <class Call>
    static std::string owned(Call &&call) {
        return detail::take<detail::handle<char, fog_string_free>>(call).get();
    }

    static std::vector<fog_peer_id> peers_of(const std::vector<std::string> &texts) {
        std::vector<fog_peer_id> peers(texts.size());
        for (std::size_t i = 0; i < texts.size(); i++) {
            detail::copy_text(texts[i], peers[i].text, "peer");
        }
        return peers;
    }

    handle handle_;
};

// ---- fog --------------------------------------------------------------------------------------

/// How a fog is made. Amounts are decimal text of base units.
struct fog_config {
    /// Worker threads, each a node of its own.
    std::size_t workers;
    /// What the fog's owner starts with, to pay its workers from.
    std::string endowment;
    /// What a worker asks for 10^9 fuel.
    std::string price_per_gigafuel;
    /// Memory each worker lends.
    std::uint64_t memory_bytes;
    /// Seed of the optimiser that places tasks.
    std::uint64_t seed;

    /// The usual configuration.
    fog_config() {
        const auto usual = detail::fill<fog_fog_config>(fog_fog_config_default);
        workers = usual.workers;
        endowment = usual.endowment.text;
        price_per_gigafuel = usual.price_per_gigafuel.text;
        memory_bytes = usual.memory_bytes;
        seed = usual.seed;
    }
};

/// What one task may use before it is stopped.
struct limits {
    /// Work, in units of fuel; about one per simple instruction.
    std::uint64_t fuel;
    /// Linear memory and tables together: 64 KiB to 4 GiB.
    std::uint64_t memory_bytes;
    /// Output: at most 1 MiB.
    std::uint64_t output_bytes;
    /// Log that is kept: at most 1 MiB. What is over it is dropped, and the task goes on.
    std::uint64_t log_bytes;
    /// Time, that in suspension left out: at most a year. 0 leaves it to the fuel.
    std::chrono::milliseconds wall{0};

    /// The usual limits.
    limits() {
        const auto usual = detail::fill<fog_limits>(fog_limits_default);
        fuel = usual.fuel;
        memory_bytes = usual.memory_bytes;
        output_bytes = usual.output_bytes;
        log_bytes = usual.log_bytes;
    }
};

/// What a task used.
struct usage {
    std::uint64_t fuel = 0;
    std::uint64_t memory_bytes_peak = 0;
    std::chrono::nanoseconds wall{0};
};

/// What a task returned.
struct task_output {
    bytes output;
    fogcompute::usage usage;
};

/// What a fog has done so far. Amounts are decimal text of base units.
struct fog_statistics {
    std::uint64_t succeeded = 0;
    std::uint64_t failed = 0;
    std::string available;
    std::string paid;
};

namespace detail {

inline task_output read_output(const fog_output *from) {
    const auto raw =
        fill<fog_usage>([&](fog_usage *out) { return fog_output_usage(from, out); });
    const std::uint8_t *data = fog_output_data(from);
    return {bytes(data, data + fog_output_len(from)),
            {raw.fuel, raw.memory_bytes_peak, std::chrono::nanoseconds(raw.wall_ns)}};
}

/// The library calls this once for each task it accepted, and so owns the promise.
inline void complete(void *user_data, fog_status status, const fog_output *output,
                     const char *message) noexcept {
    fulfil<task_output>(user_data, status, message, [&](std::promise<task_output> &promise) {
        promise.set_value(read_output(output));
    });
}

inline fog_limits native(const limits &from) noexcept {
    return {from.fuel, from.memory_bytes, from.output_bytes, from.log_bytes,
            static_cast<std::uint64_t>(from.wall.count())};
}

inline fog_amount native_amount(const std::string &digits, const char *name) {
    fog_amount amount{};
    if (digits.size() >= sizeof amount.text) {
        throw invalid_argument(std::string(name) + " has too many digits");
    }
    std::copy(digits.begin(), digits.end(), amount.text);
    return amount;
}

} // namespace detail

/// A task that was submitted.
class task {
public:
    /// Waits for the output, or throws why there is none. Once only.
    task_output get() { return result_.get(); }

    /// The future itself, to wait for with a timeout or to move elsewhere.
    std::future<task_output> &future() noexcept { return result_; }

    /// Asks the task to stop: it ends with `cancelled` unless it ends otherwise first.
    void cancel() const { detail::check(fog_task_cancel(handle_.get())); }

    /// The task's identifier.
    std::string id() const {
        return detail::fill<fog_id>([&](fog_id *out) { return fog_task_id(handle_.get(), out); })
            .text;
    }

    const fog_task *native_handle() const noexcept { return handle_.get(); }

private:
    friend class fog;
    using handle = detail::handle<fog_task, fog_task_free>;
    task(handle raw, std::future<task_output> result) noexcept
        : handle_(std::move(raw)), result_(std::move(result)) {}
    handle handle_;
    std::future<task_output> result_;
};

/// A fog inside this process: a coordinator, worker threads with WebAssembly sandboxes, and a
/// ledger in memory. Destroying it ends its tasks with `closed` or `cancelled`.
class fog {
public:
    /// Starts a fog.
    explicit fog(const fog_config &config = {})
        : handle_(detail::take<handle>([&](fog_fog **out) {
              fog_fog_config raw{};
              raw.workers = config.workers;
              raw.endowment = detail::native_amount(config.endowment, "endowment");
              raw.price_per_gigafuel =
                  detail::native_amount(config.price_per_gigafuel, "price_per_gigafuel");
              raw.memory_bytes = config.memory_bytes;
              raw.seed = config.seed;
              return fog_fog_new(&raw, out);
          })) {}

    /// Runs a WebAssembly task and waits for its output.
    task_output run(bytes_view module, bytes_view input, const limits &within = {}) const {
        const fog_limits raw = detail::native(within);
        const auto output = detail::take<detail::handle<fog_output, fog_output_free>>(
            [&](fog_output **out) {
                return fog_fog_run(handle_.get(), module.data(), module.size(), input.data(),
                                   input.size(), &raw, out);
            });
        return detail::read_output(output.get());
    }

    /// Hands in a WebAssembly task and returns at once.
    task submit(bytes_view module, bytes_view input, const limits &within = {}) const {
        const fog_limits raw = detail::native(within);
        auto promise = std::make_unique<std::promise<task_output>>();
        auto result = promise->get_future();
        auto submitted = detail::take<task::handle>([&](fog_task **out) {
            return fog_fog_submit(handle_.get(), module.data(), module.size(), input.data(),
                                  input.size(), &raw, detail::complete, promise.get(), out);
        });
        // Accepted: the callback destroys the promise, and may have done so already.
        static_cast<void>(promise.release());
        return task(std::move(submitted), std::move(result));
    }

    /// What the fog has done so far.
    fog_statistics stats() const {
        const auto raw = detail::fill<fog_stats>(
            [&](fog_stats *out) { return fog_fog_stats(handle_.get(), out); });
        return {raw.succeeded, raw.failed, raw.available.text, raw.paid.text};
    }

    /// Stops the fog. Closing again does nothing.
    void close() const { detail::check(fog_fog_close(handle_.get())); }

    const fog_fog *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_fog, fog_fog_free>;
    handle handle_;
};

// ---- a fog of processes -------------------------------------------------------------------------

/// A fog of processes: who submits to it, a node of it, and its coordinator.
namespace coordination {

/// How a job stands: fog_fog_job of fogcompute.h.
using job = fog_fog_job;
/// How a task of a job stands: fog_fog_task of fogcompute.h.
using task = fog_fog_task;
/// Something that happened: fog_fog_event of fogcompute.h.
using event = fog_fog_event;
/// A node as its coordinator knows it: fog_fog_member of fogcompute.h.
using member = fog_fog_member;

/// The compute nodes of a fog at one moment, in numbers: fog_fog_snapshot of fogcompute.h.
using snapshot = fog_fog_snapshot;

/// What all tasks of a job have in common.
struct job_options {
    /// Names the job; at random without. Submitted once more it is the same job.
    std::optional<std::string> id;
    /// What each task may use.
    limits within;
    /// Fuel each will take, as well as one can tell; 0 for a tenth of its limit.
    std::uint64_t fuel_estimate = 0;
    /// Most base units that are paid for each; a credit without.
    std::optional<std::string> max_price;
    /// How urgent it is.
    fogcompute::priority priority = fogcompute::priority::normal;
    /// How well its tasks are hidden: public, private, confidential or secret.
    std::string privacy = "private";
    /// Whether each may write a log, tell its progress and keep checkpoints.
    bool host_calls = false;
};

/// What happens in a fog, in order.
class watch {
public:
    /// The next event; nothing if none comes within that time. Throws what keeps it from watching, as
    /// `coordinator_error`: the next call goes on where it was. Throws `closed` when none will come.
    std::optional<event> receive(std::chrono::nanoseconds timeout = {}) const {
        event next{};
        bool received = false;
        detail::check(fog_fog_watch_receive(handle_.get(), detail::nanoseconds(timeout), &next,
                                            &received));
        return received ? std::optional<event>(next) : std::nullopt;
    }

    /// Watches no more. What has come can still be received.
    void close() const { detail::check(fog_fog_watch_close(handle_.get())); }

private:
    friend class client;
    using handle = detail::handle<fog_fog_watch, fog_fog_watch_free>;
    explicit watch(handle raw) noexcept : handle_(std::move(raw)) {}
    handle handle_;
};

/// Asks the coordinator of a fog: submits jobs, fetches results, watches what happens, drains nodes.
/// Every call waits for its answer.
class client {
public:
    /// A client with the text of a token's file.
    explicit client(const std::string &token,
                    std::chrono::milliseconds patience = std::chrono::seconds(30))
        : handle_(detail::take<handle>([&](fog_fog_client **out) {
              return fog_fog_client_new(token.c_str(), detail::milliseconds(patience), out);
          })) {}

    /// A client with the token in a file.
    static client open(const std::string &path,
                       std::chrono::milliseconds patience = std::chrono::seconds(30)) {
        return client(detail::take<handle>([&](fog_fog_client **out) {
            return fog_fog_client_open(path.c_str(), detail::milliseconds(patience), out);
        }));
    }

    /// Submits a job that runs a WebAssembly module once on each input.
    job submit(bytes_view module, const std::vector<bytes> &inputs,
               const job_options &options = {}) const {
        std::vector<fog_fog_input> raw_inputs;
        for (const bytes &input : inputs) {
            raw_inputs.push_back({input.data(), input.size()});
        }
        const fog_limits within = detail::native(options.within);
        auto raw = detail::fill<fog_fog_job_options>(fog_fog_job_options_default);
        raw.id = options.id ? options.id->c_str() : nullptr;
        raw.limits = &within;
        raw.fuel_estimate = options.fuel_estimate;
        if (options.max_price) {
            raw.max_price = detail::native_amount(*options.max_price, "max_price");
        }
        raw.priority = static_cast<std::int32_t>(options.priority);
        raw.privacy = options.privacy.c_str();
        raw.host_calls = options.host_calls;
        return detail::fill<job>([&](job *out) {
            return fog_fog_client_submit(handle_.get(), module.data(), module.size(),
                                         raw_inputs.data(), raw_inputs.size(), &raw, out);
        });
    }

    /// How a job stands.
    job job_of(const std::string &id) const {
        return detail::fill<job>(
            [&](job *out) { return fog_fog_client_job(handle_.get(), id.c_str(), out); });
    }

    /// The latest jobs of the account, the latest first; never more than 1,000.
    std::vector<job> jobs(std::size_t limit = 100) const {
        std::vector<job> found(limit);
        std::size_t len = 0;
        detail::check(fog_fog_client_jobs(handle_.get(), found.data(), found.size(), &len));
        found.resize(len);
        return found;
    }

    /// Waits until all tasks of a job have ended.
    job wait(const std::string &id) const {
        return detail::fill<job>(
            [&](job *out) { return fog_fog_client_wait(handle_.get(), id.c_str(), out); });
    }

    /// The tasks of a job, in the order of its inputs.
    std::vector<task> tasks(const std::string &id) const {
        return all<task>([&](task *out, std::size_t capacity, std::size_t *len) {
            return fog_fog_client_tasks(handle_.get(), id.c_str(), out, capacity, len);
        });
    }

    /// How a task stands.
    task task_of(const std::string &id) const {
        return detail::fill<task>(
            [&](task *out) { return fog_fog_client_task(handle_.get(), id.c_str(), out); });
    }

    /// The output of a task that has ended.
    task_output result(const std::string &id) const {
        const auto output = detail::take<detail::handle<fog_output, fog_output_free>>(
            [&](fog_output **out) {
                return fog_fog_client_result(handle_.get(), id.c_str(), out);
            });
        return detail::read_output(output.get());
    }

    /// What a task that has ended wrote to its log, the end of it if it was more than 64 KiB: empty if it
    /// wrote nothing, was granted no host calls, or its log is forgotten.
    std::string log(const std::string &id) const {
        const auto log = detail::take<detail::handle<char, fog_string_free>>(
            [&](char **out) { return fog_fog_client_log(handle_.get(), id.c_str(), out); });
        return log.get();
    }

    /// Ends what has not ended of a job, and says how many tasks that were.
    std::uint32_t cancel(const std::string &id) const {
        return detail::fill<std::uint32_t>([&](std::uint32_t *out) {
            return fog_fog_client_cancel(handle_.get(), id.c_str(), out);
        });
    }

    /// Ends a task, and says whether it had not ended.
    bool cancel_task(const std::string &id) const {
        return detail::fill<bool>([&](bool *was) {
            return fog_fog_client_cancel_task(handle_.get(), id.c_str(), was);
        });
    }

    /// Gives a compute node no more tasks; it finishes what it has.
    void drain(const std::string &node) const {
        detail::check(fog_fog_client_drain(handle_.get(), node.c_str()));
    }

    /// Gives a compute node tasks again.
    void undrain(const std::string &node) const {
        detail::check(fog_fog_client_undrain(handle_.get(), node.c_str()));
    }

    /// Every node that is there.
    std::vector<member> topology() const {
        return all<member>([&](member *out, std::size_t capacity, std::size_t *len) {
            return fog_fog_client_topology(handle_.get(), out, capacity, len);
        });
    }

    /// What the fog looked like before, the oldest first: at most 100 snapshots since the coordinator was
    /// started.
    std::vector<snapshot> topology_history() const {
        return all<snapshot>([&](snapshot *out, std::size_t capacity, std::size_t *len) {
            return fog_fog_client_topology_history(handle_.get(), out, capacity, len);
        });
    }

    /// What the coordinator counts, in the text format of Prometheus.
    std::string metrics() const {
        const auto text = detail::take<detail::handle<char, fog_string_free>>(
            [&](char **out) { return fog_fog_client_metrics(handle_.get(), out); });
        return text.get();
    }

    /// The number of the last thing that happened.
    std::uint64_t last_event() const {
        return detail::fill<std::uint64_t>(
            [&](std::uint64_t *out) { return fog_fog_client_last_event(handle_.get(), out); });
    }

    /// Watches what happens to jobs of the account after the event of that number: 0 for everything that
    /// is remembered.
    coordination::watch watch(std::uint64_t after = 0) const {
        return coordination::watch(
            detail::take<coordination::watch::handle>([&](fog_fog_watch **out) {
                return fog_fog_client_watch(handle_.get(), after, out);
            }));
    }

    /// Ends the client: what waits ends with `closed`, and so does watching. Closing again does nothing.
    void close() const { detail::check(fog_fog_client_close(handle_.get())); }

    const fog_fog_client *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_fog_client, fog_fog_client_free>;
    explicit client(handle raw) noexcept : handle_(std::move(raw)) {}

    /// As many as there are: asked again with room for them while more come.
    template <class T, class Call>
    static std::vector<T> all(Call &&call) {
        std::vector<T> items(64);
        while (true) {
            std::size_t len = 0;
            const fog_status status = call(items.data(), items.size(), &len);
            if (status == FOG_STATUS_BUFFER_TOO_SMALL) {
                items.resize(len);
                continue;
            }
            detail::check(status);
            items.resize(len);
            return items;
        }
    }

    handle handle_;
};

/// How a node is made.
struct node_options {
    /// The mix layer it is in; without one it computes.
    std::optional<std::uint8_t> layer;
    /// The address it accepts links at; port 0 is any that is free.
    std::string listen = "127.0.0.1:0";
    /// When and how much it lends; the usual policy without. It may be destroyed after the call.
    const harvest_policy *policy = nullptr;
    /// Base units it asks for 10^9 fuel; a credit without.
    std::optional<std::string> price_per_gigafuel;
    /// From one report to its coordinator to the next.
    std::chrono::milliseconds heartbeat = std::chrono::seconds(30);
    /// Nodes that share this machine, itself included: it promises its part of what the policy lends.
    std::uint16_t nodes_on_machine = 1;
};

/// A node of a fog in this process: it runs the fog's tasks when its policy allows it, or mixes packets.
class node {
public:
    /// Starts a node whose coordinator is there and that, with its data in a folder.
    node(const std::string &coordinator, const std::string &coordinator_id, const std::string &data,
         const node_options &options = {})
        : handle_(detail::take<handle>([&](fog_fog_node **out) {
              auto raw = detail::fill<fog_fog_node_config>(fog_fog_node_config_default);
              raw.layer = options.layer ? *options.layer : -1;
              raw.listen = options.listen.c_str();
              raw.policy = options.policy ? options.policy->native_handle() : nullptr;
              if (options.price_per_gigafuel) {
                  raw.price_per_gigafuel =
                      detail::native_amount(*options.price_per_gigafuel, "price_per_gigafuel");
              }
              if (options.heartbeat.count() < 0) {
                  throw invalid_argument("a duration is negative");
              }
              raw.heartbeat_ms = static_cast<std::uint64_t>(options.heartbeat.count());
              raw.nodes_on_machine = options.nodes_on_machine;
              return fog_fog_node_start(coordinator.c_str(), coordinator_id.c_str(), data.c_str(),
                                        &raw, out);
          })) {}

    /// Who it is.
    std::string id() const {
        return detail::fill<fog_node_id>([&](fog_node_id *out) {
                   return fog_fog_node_id(handle_.get(), out);
               }).text;
    }

    /// Ends when its coordinator has let it in; with why it could not go on, or with `closed`.
    std::future<void> joined() const {
        auto promise = std::make_unique<std::promise<void>>();
        auto result = promise->get_future();
        detail::check(fog_fog_node_joined(handle_.get(), on_joined, promise.get()));
        // Accepted: the callback destroys the promise, and may have done so already.
        static_cast<void>(promise.release());
        return result;
    }

    /// Ends it. Its tasks go on when it is made again with the same data.
    void close() const { detail::check(fog_fog_node_close(handle_.get())); }

    const fog_fog_node *native_handle() const noexcept { return handle_.get(); }

private:
    static void on_joined(void *user_data, fog_status status, const char *message) noexcept {
        detail::fulfil<void>(user_data, status, message,
                             [](std::promise<void> &promise) { promise.set_value(); });
    }

    using handle = detail::handle<fog_fog_node, fog_fog_node_free>;
    handle handle_;
};

/// How a coordinator runs.
struct coordinator_config {
    /// The address it accepts links at, of which port 0 is any that is free.
    std::string listen = "127.0.0.1:0";
    /// Mix layers that a task crosses on its way, 1 to 4.
    std::uint8_t layers = 1;
    /// Mean delay at each mixnode.
    std::chrono::milliseconds delay = std::chrono::milliseconds(5);
    /// How tasks come to nodes: optimised, or the name of a way to route them.
    std::string placement = "least_loaded";
    /// What its owner's account begins with; a million credits without. It counts at the first start.
    std::optional<std::string> endowment = std::nullopt;
    /// Most nodes, 1 to 4095.
    std::size_t nodes_max = 256;
};

/// What a token grants.
struct token_terms {
    /// What it permits, with commas, of submit, cancel, query, drain and maintain.
    std::string actions = "submit,cancel,query";
    /// Most tasks that may be submitted with it.
    std::uint64_t tasks_max = 1000000;
    /// Most base units that may be reserved for them.
    std::string max_spend = "1000000000000000000000";
    /// How long it is good, from now on.
    std::chrono::milliseconds valid_for = std::chrono::hours(24 * 30);
    /// Who pays; the coordinator's owner without.
    std::optional<std::string> account = std::nullopt;
};

/// The coordinator of a fog in this process. Made again with its folder it goes on.
class coordinator {
public:
    /// Starts a coordinator with its data in a folder.
    explicit coordinator(const std::string &data, const coordinator_config &config = {})
        : handle_(detail::take<handle>([&](fog_fog_coordinator **out) {
              fog_amount endowment{};
              fog_fog_coordinator_config raw{};
              raw.listen = config.listen.c_str();
              raw.layers = config.layers;
              raw.delay_ms = detail::milliseconds(config.delay);
              raw.placement = config.placement.c_str();
              if (config.endowment) {
                  endowment = detail::native_amount(*config.endowment, "endowment");
                  raw.endowment = &endowment;
              }
              raw.nodes_max = config.nodes_max;
              return fog_fog_coordinator_start(data.c_str(), &raw, out);
          })) {
        fog_node_id id{};
        char address[FOG_ADDRESS_SIZE];
        detail::check(fog_fog_coordinator_whereabouts(handle_.get(), &id, address));
        id_ = id.text;
        address_ = address;
    }

    /// Who it is.
    const std::string &id() const noexcept { return id_; }
    /// Where it accepts links of nodes and submitters.
    const std::string &address() const noexcept { return address_; }

    /// Issues a token: the text of a token's file.
    std::string issue_token(const token_terms &terms = {}) const {
        fog_fog_token_terms raw{};
        raw.actions = terms.actions.c_str();
        raw.tasks_max = terms.tasks_max;
        raw.max_spend = detail::native_amount(terms.max_spend, "max_spend");
        raw.valid_for_ms = detail::milliseconds(terms.valid_for);
        raw.account = terms.account ? terms.account->c_str() : nullptr;
        const auto token = detail::take<detail::handle<char, fog_string_free>>([&](char **out) {
            return fog_fog_coordinator_issue_token(handle_.get(), &raw, out);
        });
        return token.get();
    }

    /// Ends it. Jobs go on when it is made again with the same data.
    void close() const { detail::check(fog_fog_coordinator_close(handle_.get())); }

    const fog_fog_coordinator *native_handle() const noexcept { return handle_.get(); }

private:
    using handle = detail::handle<fog_fog_coordinator, fog_fog_coordinator_free>;
    handle handle_;
    std::string id_;
    std::string address_;
};

} // namespace coordination

} // namespace fogcompute

#endif // FOGCOMPUTE_HPP
