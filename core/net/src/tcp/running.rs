//! The tasks: one that listens, one for each dialled address, one for each connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fogcompute_base::{NodeId, OsEntropy, Rng};
use fogcompute_transport::Ended;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::{
    BYE, DialId, FRAME, KEEP_ALIVE, LINK_BYTES_MAX, Outgoing, Shared, State, TcpEvent, TcpLinkId,
    cost,
};
use crate::link::{Link, LinkError, LinkReader, LinkWriter, Purpose};
use crate::places::passed;

/// How long to wait when the system gives no connections, as with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Counts a connection for as long as its task runs.
struct Active<'a>(&'a Shared);

impl<'a> Active<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.active.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

/// A link that is up. However its task ends, it is taken down.
struct Running<'a> {
    shared: &'a Shared,
    id: TcpLinkId,
    outgoing: Arc<Outgoing>,
    ended: Ended,
    /// An accepted link keeps its place until the host has heard of its end.
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let place = self.place.take();
        self.shared.take_down(self.id, self.ended, place);
    }
}

impl Shared {
    /// A link is up, unless there is a better one with that peer.
    fn take_up(&self, peer: NodeId, dial: Option<DialId>) -> Option<(TcpLinkId, Arc<Outgoing>)> {
        let own = self.identity.node();
        let mut state = self.lock();
        let is_dialled = dial.is_some();
        match state.peers.get(&peer).copied() {
            // Of two that were dialled by different sides, both ends keep the same one.
            Some((_, was_dialled)) if was_dialled != is_dialled && is_dialled != (own < peer) => {
                return None;
            }
            Some((older, _)) => {
                if let Some(older) = self.down(&mut state, older, Ended::Lost, None) {
                    older.lock().is_replaced = true;
                    older.wake.notify_one();
                }
            }
            None => {}
        }
        let link = TcpLinkId(self.number());
        let outgoing = Arc::new(Outgoing {
            peer,
            queue: Default::default(),
            wake: Default::default(),
        });
        state.links.insert(link, Arc::clone(&outgoing));
        state.peers.insert(peer, (link, is_dialled));
        // Under the lock: nothing of the link may come before.
        self.emit(TcpEvent::Up { link, peer, dial }, None);
        Some((link, outgoing))
    }

    /// A link is down, unless it was before.
    pub(super) fn take_down(
        &self,
        link: TcpLinkId,
        ended: Ended,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Option<Arc<Outgoing>> {
        let down = self.down(&mut self.lock(), link, ended, permit);
        self.changed.notify_waiters();
        down
    }

    fn down(
        &self,
        state: &mut State,
        link: TcpLinkId,
        ended: Ended,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Option<Arc<Outgoing>> {
        let outgoing = state.links.remove(&link)?;
        let peer = outgoing.peer;
        if state.peers.get(&peer).is_some_and(|(of, _)| *of == link) {
            state.peers.remove(&peer);
        }
        self.emit(TcpEvent::Down { link, peer, ended }, permit);
        Some(outgoing)
    }

    /// Ends when there is no link with the peer.
    async fn unlinked(&self, peer: NodeId) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if !self.lock().peers.contains_key(&peer) {
                return;
            }
            changed.await;
        }
    }

    /// Whether [`TcpLinks::stop`](super::TcpLinks::stop) was called.
    fn is_stopped(&self) -> bool {
        self.places.is_closed()
    }
}

pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    while !shared.is_stopped() {
        while connections.try_join_next().is_some() {}
        let mut changed = std::pin::pin!(shared.changed.notified());
        changed.as_mut().enable();
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = changed => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let number = shared.number();
        let of_task = Arc::clone(&shared);
        // It waits for this lock before it looks for itself among the handshakes.
        let mut state = shared.lock();
        let task = connections.spawn(async move { serve(&of_task, number, stream).await });
        state.handshakes.push_back((number, task));
        if state.handshakes.len() > shared.config.handshakes_max.max(1)
            && let Some((_, oldest)) = state.handshakes.pop_front()
        {
            oldest.abort();
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(shared: &Shared, number: u64, stream: TcpStream) {
    let _active = Active::new(shared);
    let accepted = Link::accept_within(stream, &shared.identity, shared.config.handshake_max).await;
    // From here on no other handshake ends it.
    shared.lock().handshakes.retain(|(of, _)| *of != number);
    let Ok((link, Purpose::Frames)) = accepted else {
        return;
    };
    if link.peer() == shared.identity.node() {
        return;
    }
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        return;
    };
    if let Some((id, outgoing)) = shared.take_up(link.peer(), None) {
        run(shared, link, id, outgoing, Some(place)).await;
    }
}

pub(super) async fn dial(
    shared: Arc<Shared>,
    dial: DialId,
    address: SocketAddr,
    expected: Option<NodeId>,
    again: bool,
) {
    let reports = Arc::new(Semaphore::new(1));
    let report = |is_wrong_peer| {
        if let Ok(permit) = Arc::clone(&reports).try_acquire_owned() {
            let failed = TcpEvent::DialFailed {
                dial,
                is_wrong_peer,
            };
            shared.emit(failed, Some(permit));
        }
    };
    let mut wait = shared.config.redial_first;
    while !shared.is_stopped() {
        let active = Active::new(&shared);
        let mut linked = None;
        match connect(&shared, address, expected).await {
            Ok(link) if link.peer() == shared.identity.node() => report(true),
            Ok(link) => {
                let peer = link.peer();
                linked = Some(peer);
                if let Some((id, outgoing)) = shared.take_up(peer, Some(dial)) {
                    wait = shared.config.redial_first;
                    run(&shared, link, id, outgoing, None).await;
                }
            }
            Err(error) => report(matches!(error, LinkError::WrongPeer { .. })),
        }
        drop(active);
        if !again {
            return;
        }
        // Whoever answers there has a better link: that one is waited for.
        if let Some(peer) = linked {
            shared.unlinked(peer).await;
        }
        let half = wait / 2;
        let spread = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).max(1);
        let drawn = half + Duration::from_nanos(OsEntropy.next_u64() % spread);
        passed(&*shared.clock, drawn).await;
        wait = (wait * 2).min(shared.config.redial_max);
    }
}

async fn connect(
    shared: &Shared,
    address: SocketAddr,
    expected: Option<NodeId>,
) -> Result<Link, LinkError> {
    let limit = shared.config.handshake_max;
    let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await;
    let stream = stream.unwrap_or(Err(std::io::ErrorKind::TimedOut.into()))?;
    Link::dial_within(stream, &shared.identity, expected, Purpose::Frames, limit).await
}

async fn run(
    shared: &Shared,
    link: Link,
    id: TcpLinkId,
    outgoing: Arc<Outgoing>,
    place: Option<OwnedSemaphorePermit>,
) {
    let mut running = Running {
        shared,
        id,
        outgoing: Arc::clone(&outgoing),
        ended: Ended::Lost,
        place,
    };
    let (mut reader, mut writer) = link.into_split();
    let wrote = tokio::select! {
        ended = read(shared, id, &running.outgoing, &mut reader) => Err(ended),
        wrote = write(shared, id, &running.outgoing, &mut writer) => wrote,
    };
    match wrote {
        // Closed by this side: the peer is told, and what it still sends is not left unread.
        Ok(()) => {
            let _ = tokio::time::timeout(shared.config.handshake_max, async {
                let said = async {
                    writer.send(&[BYE]).await?;
                    writer.finish().await
                };
                let (_, ()) = tokio::join!(said, reader.drain());
            })
            .await;
        }
        Err(ended) => running.ended = ended,
    }
}

/// Hands over what comes, until the link ends.
async fn read(
    shared: &Shared,
    id: TcpLinkId,
    outgoing: &Outgoing,
    reader: &mut LinkReader,
) -> Ended {
    let limit = shared.config.idle_max;
    let window = shared.config.window_bytes_max.max(1);
    let window = u32::try_from(window).unwrap_or(u32::MAX);
    let credit = Arc::new(Semaphore::new(window as usize));
    loop {
        let mut frame = match tokio::time::timeout(limit, reader.receive_up_to(LINK_BYTES_MAX))
            .await
        {
            Ok(Ok(frame)) => frame,
            // A frame that is none, or was changed on its way.
            Ok(Err(LinkError::Noise | LinkError::Protocol | LinkError::FrameTooLong { .. })) => {
                return Ended::Misbehaved;
            }
            Ok(Err(_)) | Err(_) => return Ended::Lost,
        };
        match frame.as_slice() {
            [KEEP_ALIVE] => continue,
            [BYE] => return Ended::ClosedByPeer,
            [FRAME, ..] => {}
            _ => return Ended::Misbehaved,
        }
        frame.remove(0);
        #[cfg(test)]
        shared.flow[1].fetch_add(1, Ordering::SeqCst);
        let bytes = u32::try_from(cost(frame.len())).unwrap_or(u32::MAX);
        let bytes = bytes.min(window);
        let permit = if let Ok(permit) = Arc::clone(&credit).try_acquire_many_owned(bytes) {
            permit
        } else {
            #[cfg(test)]
            shared.stuck.fetch_add(1, Ordering::SeqCst);
            let room = Arc::clone(&credit).acquire_many_owned(bytes).await;
            #[cfg(test)]
            shared.stuck.fetch_sub(1, Ordering::SeqCst);
            room.expect("the semaphore is never closed")
        };
        let state = shared.lock();
        if outgoing.lock().is_closing || !state.links.contains_key(&id) {
            continue;
        }
        #[cfg(test)]
        shared.flow[2].fetch_add(1, Ordering::SeqCst);
        shared.emit(
            TcpEvent::Frame {
                link: id,
                bytes: frame,
            },
            Some(permit),
        );
    }
}

/// Sends what waits. `Ok` when this side closes.
async fn write(
    shared: &Shared,
    id: TcpLinkId,
    outgoing: &Outgoing,
    writer: &mut LinkWriter,
) -> Result<(), Ended> {
    let (limit, keep_alive) = (shared.config.idle_max, shared.config.keep_alive);
    loop {
        let next = {
            let mut queue = outgoing.lock();
            if queue.is_replaced {
                return Err(Ended::Lost);
            }
            match queue.frames.pop_front() {
                None if queue.is_closing => return Ok(()),
                next => next,
            }
        };
        let bytes = next.as_ref().map_or(0, |frame| cost(frame.len() - 1));
        let frame = match next {
            Some(frame) => frame,
            None => tokio::select! {
                () = outgoing.wake.notified() => continue,
                () = passed(&*shared.clock, keep_alive) => vec![KEEP_ALIVE],
            },
        };
        match tokio::time::timeout(limit, writer.send(&frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(Ended::Lost),
        }
        let mut queue = outgoing.lock();
        queue.bytes -= bytes;
        if queue.is_full && queue.bytes <= shared.config.queue_bytes_max / 2 {
            queue.is_full = false;
            drop(queue);
            shared.emit(TcpEvent::Writable { link: id }, None);
        }
    }
}
