//! Links of submitters: what comes in is put together and asked, what is answered goes out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fogcompute_base::{Clock, UnixMillis};
use fogcompute_coord::token::{Call, Token};
use fogcompute_ledger::PublicKey;
use fogcompute_net::{Link, LinkError, LinkReader, LinkWriter};
use fogcompute_store::JobEvents;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::protocol::{
    Answer, FRAME_BYTES, Part, REQUEST_BYTES_MAX, Reason, Request, answer_frames,
};

/// Most links of submitters at once; further ones are closed and counted, and clients dial again. They
/// leave room for those of nodes.
pub(crate) const LINKS_MAX: usize = 128;

/// Most requests of one link that are not answered. When reached, the link is read no further.
pub(crate) const UNANSWERED_MAX: usize = 32;

/// Most requests that wait to be looked at. When reached, links are read no further.
const ASKED_MAX: usize = 256;

/// Most bytes of requests of more than one frame that are kept while they come in, over all links.
const UPLOADS_BYTES_MAX: usize = 2 * REQUEST_BYTES_MAX;

/// How long a request may take to come in.
const UPLOAD_MAX: Duration = Duration::from_secs(120);

/// Bytes are counted in pieces of this many, because semaphores count less than bytes.
const PIECE_BYTES: usize = 1 << 10;

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Answer>;

/// A request whose bytes make sense. Whether the call permits it is for the gate to say.
#[derive(Debug)]
pub(crate) struct Asked {
    pub call: Box<Call>,
    pub body: Vec<u8>,
    pub request: Request,
    pub reply: Reply,
    /// The number of the last event that was looked at for it.
    pub looked: Arc<AtomicU64>,
    /// Its room among those that come in, until it is dealt with.
    pub _room: Option<OwnedSemaphorePermit>,
}

/// What all links share.
pub(crate) struct Desk {
    asked: mpsc::Sender<Asked>,
    /// Who may issue tokens. Empty until submitters are let in.
    issuers: OnceLock<BTreeSet<PublicKey>>,
    uploads: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    /// Links that were closed because there were too many.
    links_refused: AtomicU64,
}

impl Desk {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> (Arc<Self>, mpsc::Receiver<Asked>) {
        let (asked, inbox) = mpsc::channel(ASKED_MAX);
        let desk = Self {
            asked,
            issuers: OnceLock::new(),
            uploads: Arc::new(Semaphore::new(UPLOADS_BYTES_MAX / PIECE_BYTES)),
            clock,
            links_refused: AtomicU64::new(0),
        };
        (Arc::new(desk), inbox)
    }

    pub(crate) fn links_refused(&self) -> u64 {
        self.links_refused.load(Ordering::Relaxed)
    }

    /// Who may issue tokens from now on; the first who is said counts.
    pub(crate) fn open(&self, issuers: BTreeSet<PublicKey>) {
        let _ = self.issuers.set(issuers);
    }

    /// Why nobody listens to more than one frame of this token. The gate looks at the rest.
    fn refuses(&self, token: &Token) -> Option<Reason> {
        let Some(issuers) = self.issuers.get() else {
            return Some(Reason::Closed);
        };
        let UnixMillis(now) = self.clock.unix_now();
        if !issuers.contains(&token.issuer) {
            Some(Reason::UnknownIssuer)
        } else if now >= token.grant.expires.0 {
            Some(Reason::Expired)
        } else if !token.is_signed() {
            Some(Reason::ForgedToken)
        } else {
            None
        }
    }
}

/// Attends to every link of a submitter.
pub(crate) async fn attend_links(mut links: mpsc::Receiver<Link>, desk: Arc<Desk>) {
    let mut tasks = JoinSet::new();
    while let Some(link) = links.recv().await {
        while tasks.try_join_next().is_some() {}
        if tasks.len() < LINKS_MAX {
            tasks.spawn(attend(link, Arc::clone(&desk)));
        } else {
            desk.links_refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn attend(link: Link, desk: Arc<Desk>) {
    let (reader, writer) = link.into_split();
    let (answers, outbox) = mpsc::channel(UNANSWERED_MAX);
    // Whichever ends first ends the link, and drops whoever waits for an answer.
    tokio::select! {
        _ = write_answers(writer, outbox) => {}
        _ = read_requests(reader, answers, &desk) => {}
    }
}

async fn write_answers(
    mut writer: LinkWriter,
    mut outbox: mpsc::Receiver<(u64, Answer)>,
) -> Result<(), LinkError> {
    while let Some((number, answer)) = outbox.recv().await {
        for frame in answer_frames(number, &answer.encode()) {
            writer.send(&frame).await?;
        }
    }
    Ok(())
}

/// A request as it came in, or why it is not taken.
struct Incoming {
    number: u64,
    call: Box<Call>,
    body: Result<Vec<u8>, Reason>,
    room: Option<OwnedSemaphorePermit>,
}

async fn read_requests(
    mut reader: LinkReader,
    answers: mpsc::Sender<(u64, Answer)>,
    desk: &Desk,
) -> Result<(), LinkError> {
    let mut waiting = JoinSet::new();
    loop {
        while waiting.try_join_next().is_some() {}
        if waiting.len() >= UNANSWERED_MAX {
            waiting.join_next().await;
        }
        let frame = reader.receive_up_to(FRAME_BYTES).await?;
        let incoming = tokio::time::timeout(UPLOAD_MAX, read_request(&frame, &mut reader, desk));
        let incoming = incoming
            .await
            .map_err(|_| LinkError::Idle { limit: UPLOAD_MAX })??;
        let number = incoming.number;
        let (reply, answer) = oneshot::channel();
        let (mut patience, looked) = (None, Arc::new(AtomicU64::new(0)));
        let refused = match incoming.body {
            Err(reason) => Some(reason),
            Ok(body) => match Request::decode(&body) {
                Err(_) => Some(Reason::Protocol),
                Ok(request) => {
                    if let Request::Events(wanted) = &request
                        && wanted.wait_ms > 0
                    {
                        looked.store(wanted.after, Ordering::Relaxed);
                        patience = Some(Duration::from_millis(wanted.wait_ms.into()));
                    }
                    let asked = Asked {
                        call: incoming.call,
                        body,
                        request,
                        reply,
                        looked: Arc::clone(&looked),
                        _room: incoming.room,
                    };
                    if desk.asked.send(asked).await.is_err() {
                        return Ok(());
                    }
                    None
                }
            },
        };
        let answers = answers.clone();
        waiting.spawn(async move {
            let answer = match (refused, patience) {
                (Some(reason), _) => Ok(refusal(reason)),
                (None, None) => answer.await,
                (None, Some(limit)) => match tokio::time::timeout(limit, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Ok(Answer::Events(JobEvents {
                        last: looked.load(Ordering::Relaxed),
                        ..JobEvents::default()
                    })),
                },
            };
            if let Ok(answer) = answer {
                let _ = answers.send((number, answer)).await;
            }
        });
    }
}

fn refusal(reason: Reason) -> Answer {
    let said = reason.to_string();
    Answer::Refused { reason, said }
}

/// Puts a request together whose first frame has come.
async fn read_request(
    frame: &[u8],
    reader: &mut LinkReader,
    desk: &Desk,
) -> Result<Incoming, LinkError> {
    let Ok(Part::Request {
        number,
        call,
        bytes,
        first,
    }) = Part::of_request(frame)
    else {
        return Err(LinkError::Protocol);
    };
    let mut body = first.to_vec();
    if body.len() == bytes {
        return Ok(Incoming {
            number,
            call,
            body: Ok(body),
            room: None,
        });
    }
    // Strangers make nobody keep more than a frame.
    let refused = desk.refuses(&call.token);
    let room = match refused {
        Some(_) => {
            body.clear();
            None
        }
        None => {
            let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
            let room = Arc::clone(&desk.uploads).acquire_many_owned(pieces).await;
            Some(room.expect("the semaphore is never closed"))
        }
    };
    let mut come = first.len();
    while come < bytes {
        let frame = reader.receive_up_to(FRAME_BYTES).await?;
        let Ok(Part::More(part)) = Part::of_request(&frame) else {
            return Err(LinkError::Protocol);
        };
        come += part.len();
        if come > bytes {
            return Err(LinkError::Protocol);
        }
        if refused.is_none() {
            body.extend_from_slice(part);
        }
    }
    Ok(Incoming {
        number,
        call,
        body: refused.map_or(Ok(body), Err),
        room,
    })
}
