//! Which initiations are worked on while many come.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fogcompute_base::Instant;
use fogcompute_mix::TokenBucket;

use super::links::UdpLinksConfig;

pub(super) const TOKEN_BYTES: usize = 16;
/// A token serves for the rest of the period in which it was made, and for the next one.
pub(super) const PERIOD: Duration = Duration::from_secs(60);
/// Rates of networks that have shown that they get answers. Several networks may share one.
const NETWORKS: usize = 1024;

/// How many bits of an IPv4 and of an IPv6 address name a network: one that a single customer gets
/// at the least, then one that a provider hands out at once.
pub(super) const NETWORK_BITS: [[u32; 2]; 2] = [[32, 64], [24, 48]];

/// The network of an address, by so many bits of IPv4 or IPv6.
pub(super) fn network(ip: IpAddr, bits: [u32; 2]) -> (bool, u128) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => (false, u128::from(ip.to_bits() >> (32 - bits[0]))),
        IpAddr::V6(ip) => (true, ip.to_bits() >> (128 - bits[1])),
    }
}

/// Shows that who sends it gets what is sent to its address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Token([u8; TOKEN_BYTES]);

impl Token {
    pub(super) const fn from_bytes(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; TOKEN_BYTES] {
        &self.0
    }

    /// In the same time wherever they differ: who measures does not come closer byte by byte.
    fn is(self, other: Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(0, |sum, (one, two)| sum | (one ^ two)) == 0
    }
}

/// Why an initiation is not worked on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// All together, or its network, are over the rate.
    OverRate,
    /// Its sender has to show first that it gets answers, with this token.
    Unproven(Token),
}

/// Decides before any scalar multiplication, with a state that does not grow.
///
/// Few initiations are worked on whatever their address is. What is beyond needs a token for its
/// address, and has most of the rate, which each network can use up a part of only. So whoever
/// invents addresses spoils it for nobody who gets answers, and whoever gets answers under one
/// address, for nobody under others. Tokens are computed again when they come, not kept.
///
/// It is the cookie of WireGuard (Donenfeld 2017, §5.3) or a Retry of QUIC (RFC 9000 §8.1.2).
pub(super) struct Gate {
    secret: [u8; 32],
    all: TokenBucket,
    unproven: TokenBucket,
    networks: Box<[TokenBucket]>,
}

impl Gate {
    pub(super) fn new(config: &UdpLinksConfig, secret: [u8; 32]) -> Self {
        let bucket = |rate: u32| TokenBucket::new(rate, rate.max(16));
        let network = bucket(config.handshakes_per_second_of_network_max);
        Self {
            secret,
            all: bucket(config.handshakes_per_second_max),
            unproven: bucket(config.handshakes_per_second_unproven_max),
            networks: vec![network; NETWORKS].into_boxed_slice(),
        }
    }

    /// Whether an initiation is worked on now.
    pub(super) fn admit(
        &mut self,
        from: SocketAddr,
        token: Option<Token>,
        now: Instant,
    ) -> Result<(), Denied> {
        if token.is_some_and(|token| self.proves(token, from, now)) {
            let place = self.place_of(from.ip());
            if !self.networks[place].take(now) {
                return Err(Denied::OverRate);
            }
        } else if !self.unproven.take(now) {
            return Err(Denied::Unproven(self.token(from, period(now))));
        }
        if self.all.take(now) {
            Ok(())
        } else {
            Err(Denied::OverRate)
        }
    }

    fn proves(&self, token: Token, from: SocketAddr, now: Instant) -> bool {
        let period = period(now);
        let periods = [Some(period), period.checked_sub(1)];
        let mut periods = periods.into_iter().flatten();
        periods.any(|period| self.token(from, period).is(token))
    }

    fn token(&self, from: SocketAddr, period: u64) -> Token {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(b"token");
        hasher.update(&period.to_le_bytes());
        hasher.update(&from.port().to_le_bytes());
        match from.ip() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        let mut token = [0; TOKEN_BYTES];
        hasher.finalize_xof().fill(&mut token);
        Token(token)
    }

    /// Where the rate of an address's network is. Without the secret nobody knows which share one.
    fn place_of(&self, ip: IpAddr) -> usize {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(b"network");
        let (is_v6, bits) = network(ip, NETWORK_BITS[0]);
        hasher.update(&[u8::from(is_v6)]);
        hasher.update(&bits.to_le_bytes());
        let hash = hasher.finalize();
        usize::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) % NETWORKS
    }
}

const fn period(now: Instant) -> u64 {
    now.as_nanos() / PERIOD.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        let config = UdpLinksConfig {
            handshakes_per_second_max: 100,
            handshakes_per_second_unproven_max: 20,
            handshakes_per_second_of_network_max: 30,
            ..UdpLinksConfig::default()
        };
        Gate::new(&config, [7; 32])
    }

    fn address(ip: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, ip], port).into()
    }

    /// Sends initiations from many addresses until tokens are asked for.
    fn crowd(gate: &mut Gate, now: Instant) {
        while gate.admit(address(1, 1), None, now).is_ok() {}
    }

    fn given(gate: &mut Gate, from: SocketAddr, now: Instant) -> Token {
        match gate.admit(from, None, now) {
            Err(Denied::Unproven(token)) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_are_asked_for_only_while_many_come() {
        let (mut gate, now) = (gate(), Instant::from_millis(1));
        for _ in 0..20 {
            assert_eq!(gate.admit(address(1, 1), None, now), Ok(()));
        }
        let token = given(&mut gate, address(2, 2), now);
        assert_eq!(gate.admit(address(2, 2), Some(token), now), Ok(()));
        let later = Instant::from_millis(1000);
        assert_eq!(gate.admit(address(3, 3), None, later), Ok(()));
    }

    #[test]
    fn a_token_is_for_its_address_and_for_a_while() {
        let (mut gate, now) = (gate(), Instant::from_millis(59_999));
        crowd(&mut gate, now);
        let token = given(&mut gate, address(2, 2), now);
        for other in [address(2, 3), address(3, 2)] {
            let denied = gate.admit(other, Some(token), now);
            assert!(matches!(denied, Err(Denied::Unproven(_))), "{other}");
        }
        for (millis, serves) in [(60_000, true), (119_999, true), (120_000, false)] {
            let now = Instant::from_millis(millis);
            crowd(&mut gate, now);
            let admitted = gate.admit(address(2, 2), Some(token), now);
            assert_eq!(admitted.is_ok(), serves, "{millis}");
        }
        // Nor are there tokens that always serve, or that another node has made.
        let now = Instant::from_millis(120_001);
        let foreign = Gate::new(&UdpLinksConfig::default(), [8; 32]).token(address(2, 2), 2);
        for token in [Token::default(), Token([0xff; 16]), foreign] {
            let denied = gate.admit(address(2, 2), Some(token), now);
            assert!(matches!(denied, Err(Denied::Unproven(_))));
        }
    }

    #[test]
    fn a_network_that_gets_answers_uses_up_its_own_rate_only() {
        let (mut gate, now) = (gate(), Instant::from_millis(1));
        crowd(&mut gate, now);
        let mut admitted = 0;
        for port in 0..200 {
            let from = address(2, port);
            let token = given(&mut gate, from, now);
            match gate.admit(from, Some(token), now) {
                Ok(()) => admitted += 1,
                Err(denied) => assert_eq!(denied, Denied::OverRate),
            }
        }
        assert_eq!(admitted, 30);
        let token = given(&mut gate, address(3, 1), now);
        assert_eq!(gate.admit(address(3, 1), Some(token), now), Ok(()));
        // All addresses of a network of IPv6 are one, and so is IPv4 in both clothes.
        let place = |text: &str| gate.place_of(text.parse().unwrap());
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:1:2:3"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
        assert_eq!(place("::ffff:10.0.0.1"), place("10.0.0.1"));
        assert_ne!(place("::ffff:10.0.0.1"), place("10.0.0.2"));
        let [_, wide] = NETWORK_BITS;
        let network = |text: &str| network(text.parse().unwrap(), wide);
        assert_eq!(network("10.0.0.1"), network("::ffff:10.0.0.200"));
        assert_ne!(network("10.0.0.1"), network("10.0.1.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    }
}
