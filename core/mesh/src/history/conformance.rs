//! What every [`History`] does. [`history_conformance!`](crate::history_conformance) makes a test of each check.

use std::fmt::Debug;
use std::time::Duration;

use fogcompute_base::UnixMillis;

use super::{Change, Conversation, History, HistoryLimits, Message};
use crate::group::GroupId;
use crate::node::DeliveryState;
use crate::packet::PeerId;
use crate::payload::MessageId;

/// Makes a test of each check, for a function that gives a new [`History`].
#[macro_export]
macro_rules! history_conformance {
    ($new:expr) => {
        $crate::history_conformance!(
            $new;
            what_was_kept_is_there_the_newest_first,
            a_page_goes_on_where_the_last_one_ended,
            conversations_are_apart,
            the_same_message_is_kept_once_and_another_peers_of_that_name_too,
            states_are_those_of_messages_from_here,
            what_was_deleted_is_gone_and_does_not_come_again,
            the_oldest_go_when_there_are_too_many,
            what_was_kept_too_long_ago_goes
        );
    };
    ($new:expr; $($check:ident),*) => {$(
        #[test]
        fn $check() {
            $crate::history::conformance::$check(&mut $new());
        }
    )*};
}

const AT: UnixMillis = UnixMillis(1_760_000_000_000);
const ALICE: PeerId = PeerId::from_bytes([1; 8]);
const BOB: PeerId = PeerId::from_bytes([2; 8]);

fn message(id: &str, from: PeerId) -> Message {
    Message {
        id: MessageId::new(id).expect("it is short"),
        conversation: Conversation::Peer(from),
        from: Some(from),
        text: format!("text of {id}"),
        at: UnixMillis(AT.0 - 5),
        state: DeliveryState::Waiting,
        via: None,
        hops: 0,
    }
}

fn keep<H: History<Error: Debug>>(history: &mut H, messages: &[Message], unix: UnixMillis) {
    let changes: Vec<_> = messages.iter().cloned().map(Change::Message).collect();
    let new = history.keep(&changes, unix).expect("it can be kept");
    assert_eq!(new, vec![true; messages.len()]);
}

fn ids<H: History<Error: Debug>>(history: &H, of: Option<Conversation>) -> Vec<String> {
    let page = history.page(of, u64::MAX, 1000).expect("it can be read");
    let ids = page
        .iter()
        .map(|(_, message)| message.id.as_str().to_owned());
    ids.collect()
}

/// With everything that was said of it.
///
/// # Panics
/// When it is not.
pub fn what_was_kept_is_there_the_newest_first<H: History<Error: Debug>>(history: &mut H) {
    assert_eq!(history.page(None, u64::MAX, 9).expect("it can be read"), []);
    let mut own = message("own", BOB);
    own.from = None;
    own.conversation = Conversation::Group(GroupId([7; 16]));
    own.state = DeliveryState::Relayed;
    let mut public = message("public", ALICE);
    public.conversation = Conversation::Everybody;
    (public.via, public.hops) = (Some(BOB), 3);
    let private = message("private", ALICE);
    let all = [own, public, private];
    keep(history, &all, AT);
    let page = history.page(None, u64::MAX, 9).expect("it can be read");
    let numbers: Vec<_> = page.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let mut kept: Vec<_> = page.into_iter().map(|(_, message)| message).collect();
    kept.reverse();
    assert_eq!(kept, all);
}

/// Whatever is kept meanwhile.
///
/// # Panics
/// When it does not.
pub fn a_page_goes_on_where_the_last_one_ended<H: History<Error: Debug>>(history: &mut H) {
    let all: Vec<_> = (0..10).map(|at| message(&at.to_string(), ALICE)).collect();
    keep(history, &all, AT);
    let (mut before, mut read) = (u64::MAX, Vec::new());
    loop {
        let page = history.page(None, before, 3).expect("it can be read");
        assert!(page.len() <= 3);
        let Some((last, _)) = page.last() else {
            break;
        };
        before = *last;
        read.extend(
            page.iter()
                .map(|(_, message)| message.id.as_str().to_owned()),
        );
        keep(
            history,
            &[message(&format!("later than {last}"), ALICE)],
            AT,
        );
    }
    let expected: Vec<_> = (0..10).rev().map(|at| at.to_string()).collect();
    assert_eq!(read, expected);
    assert_eq!(history.page(None, u64::MAX, 0).expect("it can be read"), []);
}

/// Those with a peer hold what both wrote.
///
/// # Panics
/// When they are not.
pub fn conversations_are_apart<H: History<Error: Debug>>(history: &mut H) {
    let group = Conversation::Group(GroupId([7; 16]));
    let mut said = message("said", ALICE);
    said.conversation = group;
    let mut own = message("own", BOB);
    (own.from, own.conversation) = (None, Conversation::Peer(ALICE));
    let mut public = message("public", ALICE);
    public.conversation = Conversation::Everybody;
    let theirs = message("theirs", ALICE);
    keep(
        history,
        &[theirs, said, public, own, message("bob's", BOB)],
        AT,
    );
    for (of, expected) in [
        (Conversation::Peer(ALICE), vec!["own", "theirs"]),
        (Conversation::Peer(BOB), vec!["bob's"]),
        (Conversation::Everybody, vec!["public"]),
        (group, vec!["said"]),
        (Conversation::Group(GroupId([8; 16])), vec![]),
    ] {
        assert_eq!(ids(history, Some(of)), expected, "{of:?}");
    }
    let conversations = history.conversations().expect("they can be read");
    assert_eq!(
        conversations,
        [
            (Conversation::Peer(BOB), 5),
            (Conversation::Peer(ALICE), 4),
            (Conversation::Everybody, 3),
            (group, 2)
        ]
    );
}

/// A message is known by its id and who wrote it.
///
/// # Panics
/// When it is not.
pub fn the_same_message_is_kept_once_and_another_peers_of_that_name_too<H>(history: &mut H)
where
    H: History<Error: Debug>,
{
    keep(history, &[message("7", ALICE)], AT);
    let mut other_text = message("7", ALICE);
    other_text.text = "something else".to_owned();
    let changes = [other_text, message("7", BOB)].map(Change::Message);
    let new = history.keep(&changes, AT).expect("it can be kept");
    assert_eq!(new, [false, true]);
    let page = history.page(Some(Conversation::Peer(ALICE)), u64::MAX, 9);
    let page = page.expect("it can be read");
    assert_eq!(page, [(1, message("7", ALICE))]);
}

/// Others' messages of the same name are not touched.
///
/// # Panics
/// When they are not.
pub fn states_are_those_of_messages_from_here<H: History<Error: Debug>>(history: &mut H) {
    let mut own = message("7", BOB);
    (own.from, own.conversation) = (None, Conversation::Peer(ALICE));
    keep(history, &[own.clone(), message("7", ALICE)], AT);
    for state in [
        DeliveryState::Sent,
        DeliveryState::Relayed,
        DeliveryState::Delivered,
        DeliveryState::Read,
        DeliveryState::GivenUp,
        DeliveryState::Waiting,
    ] {
        let id = own.id.clone();
        let changes = [Change::State { id, state }];
        let changed = history.keep(&changes, AT).expect("it can be kept");
        assert_eq!(changed, Vec::<bool>::new());
        own.state = state;
        let page = history.page(None, u64::MAX, 9).expect("it can be read");
        assert_eq!(page, [(2, message("7", ALICE)), (1, own.clone())]);
    }
}

/// One, and a whole conversation.
///
/// # Panics
/// When it is not, or does.
pub fn what_was_deleted_is_gone_and_does_not_come_again<H: History<Error: Debug>>(history: &mut H) {
    let all = ["1", "2", "3"].map(|id| message(id, ALICE));
    keep(history, &all, AT);
    keep(history, &[message("bob's", BOB)], AT);
    let deleted = [2, 2, 9].map(|number| history.delete(number).expect("it can be deleted"));
    assert_eq!(deleted, [true, false, false]);
    assert_eq!(ids(history, None), ["bob's", "3", "1"]);
    let of = Conversation::Peer(ALICE);
    let counts = [0; 2].map(|_| history.delete_conversation(of).expect("it can be deleted"));
    assert_eq!(counts, [2, 0]);
    assert_eq!(ids(history, None), ["bob's"]);
    let conversations = history.conversations().expect("they can be read");
    assert_eq!(conversations, [(Conversation::Peer(BOB), 4)]);
    let again = all.map(Change::Message);
    let new = history.keep(&again, AT).expect("it can be kept");
    assert_eq!(new, [false; 3]);
    assert_eq!(ids(history, None), ["bob's"]);
    // Numbers are not given again.
    keep(history, &[message("5", ALICE)], AT);
    let page = history.page(Some(of), u64::MAX, 9).expect("it can be read");
    assert_eq!(page, [(5, message("5", ALICE))]);
}

/// By the order in which they were kept.
///
/// # Panics
/// When they do not.
pub fn the_oldest_go_when_there_are_too_many<H: History<Error: Debug>>(history: &mut H) {
    history.set_limits(HistoryLimits {
        messages_max: 3,
        age_max: None,
    });
    for at in 0..7 {
        let mut message = message(&at.to_string(), ALICE);
        // Writers may say any time.
        message.at = UnixMillis(AT.0 - at);
        keep(history, &[message], AT);
    }
    assert_eq!(ids(history, None), ["6", "5", "4"]);
}

/// By when it was kept, whatever its writer says.
///
/// # Panics
/// When it does not.
pub fn what_was_kept_too_long_ago_goes<H: History<Error: Debug>>(history: &mut H) {
    history.set_limits(HistoryLimits {
        messages_max: 100,
        age_max: Some(Duration::from_secs(60)),
    });
    let mut future = message("from the future", ALICE);
    future.at = UnixMillis(AT.0 + 1_000_000);
    let mut past = message("from the past", ALICE);
    past.at = UnixMillis(0);
    keep(history, &[future], AT);
    let later = |seconds: u64| UnixMillis(AT.0 + 1000 * seconds);
    keep(history, &[past], later(30));
    assert_eq!(ids(history, None), ["from the past", "from the future"]);
    history.keep(&[], later(60)).expect("nothing can be kept");
    assert_eq!(ids(history, None), ["from the past", "from the future"]);
    history.keep(&[], later(61)).expect("nothing can be kept");
    assert_eq!(ids(history, None), ["from the past"]);
    history.keep(&[], later(91)).expect("nothing can be kept");
    assert_eq!(ids(history, None), [""; 0]);
}
