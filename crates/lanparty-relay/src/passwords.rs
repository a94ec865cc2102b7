//! Passwords of users. They are compared beside the relay's own thread, few at once, and few wrong ones from one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier};
use lanparty_core::{Rate, TokenBucket};
use lanparty_proto::{IdentityId, Login, PASSWORD_LEN_MAX};
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

/// Comparisons that wait or run. Each takes some 20 ms, and a member waits three seconds for its answer.
const QUEUE_MAX: usize = 64;
/// Wrong passwords from one address: so many at once, then one in so many seconds.
const GUESSES_BURST: u64 = 10;
const GUESS_SECONDS: u64 = 10;
/// Addresses whose wrong guesses are remembered, and machines whose right one is. Beyond it those are forgotten that say least.
const REMEMBERED_MAX: usize = 4096;
/// What a hash may cost, in KiB and passes: a file must not ask for more than the machine has.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// What came of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checked {
    Right,
    Wrong,
    /// Not compared: there were too many wrong ones from this address.
    TooMany,
    /// Not compared: too many others wait for that.
    Busy,
}

/// Compares passwords.
pub(crate) struct Passwords {
    places: Semaphore,
    workers: Semaphore,
    guesses: Mutex<BTreeMap<IpAddr, TokenBucket>>,
    /// Machines that have shown the right one, so that nobody who comes back after an outage waits. By a key of this run alone: what is
    /// here fits no password anywhere else.
    shown: Mutex<BTreeMap<IdentityId, hmac::Tag>>,
    key: hmac::Key,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1));
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self {
            places: Semaphore::new(QUEUE_MAX),
            workers: Semaphore::new(workers),
            guesses: Mutex::default(),
            shown: Mutex::default(),
            key: key.expect("INVARIANT: the operating system gives random bytes"),
        }
    }

    /// Compares the password of `login`, which a machine of that identity shows from that address, with `hash`. With `in_vain` it takes
    /// as long, and is wrong.
    pub(crate) async fn check(&self, from: IpAddr, identity: IdentityId, login: &Login, hash: &Arc<str>, in_vain: bool) -> Checked {
        let tag = self.tag(login, hash);
        if !in_vain && self.was_shown(identity, &tag) {
            return Checked::Right;
        }
        let address = place_of(from);
        if !self.may_guess(address) {
            return Checked::TooMany;
        }
        let Ok(_place) = self.places.try_acquire() else {
            self.was_no_guess(address);
            return Checked::Busy;
        };
        let Ok(_worker) = self.workers.acquire().await else { return Checked::Busy };
        let (password, hash) = (login.password.0.clone(), Arc::clone(hash));
        // A panic there is a password that does not fit.
        let fits = tokio::task::spawn_blocking(move || fits(&password, &hash)).await.unwrap_or(false);
        if !fits || in_vain {
            return Checked::Wrong;
        }
        self.was_no_guess(address);
        self.remember(identity, tag);
        Checked::Right
    }

    fn tag(&self, login: &Login, hash: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [login.user.as_str(), hash, &login.password.0] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign()
    }

    /// In constant time: `ring` compares tags so, through a second one over both.
    fn was_shown(&self, identity: IdentityId, tag: &hmac::Tag) -> bool {
        let known = lock(&self.shown).get(&identity).copied();
        known.is_some_and(|known| hmac::verify(&self.key, tag.as_ref(), hmac::sign(&self.key, known.as_ref()).as_ref()).is_ok())
    }

    fn remember(&self, identity: IdentityId, tag: hmac::Tag) {
        let mut shown = lock(&self.shown);
        if shown.len() >= REMEMBERED_MAX {
            // Whoever it is waits once more.
            shown.pop_first();
        }
        shown.insert(identity, tag);
    }

    /// A guess until it is known to be none.
    fn may_guess(&self, from: IpAddr) -> bool {
        let (mut guesses, now) = (lock(&self.guesses), Instant::now());
        let rate = Rate { per_second: 1, burst: GUESSES_BURST * GUESS_SECONDS };
        if guesses.len() >= REMEMBERED_MAX && !guesses.contains_key(&from) {
            guesses.retain(|_, bucket| bucket.tokens(now) < rate.burst);
            let fullest = guesses.iter().max_by_key(|(_, bucket)| bucket.tokens(now)).map(|(from, _)| *from);
            if guesses.len() >= REMEMBERED_MAX
                && let Some(fullest) = fullest
            {
                guesses.remove(&fullest);
            }
        }
        guesses.entry(from).or_insert_with(|| TokenBucket::new(rate, now)).take(GUESS_SECONDS, now)
    }

    fn was_no_guess(&self, from: IpAddr) {
        if let Some(bucket) = lock(&self.guesses).get_mut(&from) {
            bucket.give_back(GUESS_SECONDS);
        }
    }
}

/// Everything behind these locks is whole after every call.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn place_of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// In constant time: the hashes are compared by `subtle`.
fn fits(password: &str, hash: &str) -> bool {
    let is_short = password.len() <= PASSWORD_LEN_MAX;
    is_short && PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Whether a text is the hash of a password that this relay compares; else why not, without a word of it.
pub(crate) fn check_hash(text: &str) -> Result<(), String> {
    let none = "this is no argon2 hash of a password: make one with `lanparty-relay password`";
    let hash = PasswordHash::new(text).map_err(|_| none)?;
    argon2::Algorithm::try_from(hash.algorithm).map_err(|_| none)?;
    let params = Params::try_from(&hash).map_err(|_| none)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(none.to_owned());
    }
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
        return Err(format!("this hash asks for more than {} MiB, {PASSES_MAX} passes or {LANES_MAX} lanes", MEMORY_KIB_MAX >> 10));
    }
    Ok(())
}

/// The hash of a password, as rooms.toml wants it: argon2id with 19 MiB and two passes (OWASP Password Storage Cheat Sheet).
pub(crate) fn hash(password: &str) -> Result<String, String> {
    use argon2::PasswordHasher;
    use argon2::password_hash::SaltString;
    use ring::rand::SecureRandom;
    match password.len() {
        0 => return Err("a password has one character at least".to_owned()),
        len if len > PASSWORD_LEN_MAX => return Err(format!("a password has at most {PASSWORD_LEN_MAX} bytes")),
        _ => {}
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| "the operating system gives no random bytes")?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
    Argon2::default().hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use lanparty_proto::Password;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ANNA: IdentityId = IdentityId([1; 32]);

    fn login(password: &str) -> Login {
        Login { user: "anna".into(), password: Password(password.into()) }
    }

    fn hashed(password: &str) -> Arc<str> {
        hash(password).unwrap().into()
    }

    #[tokio::test]
    async fn the_right_password_is_right_and_every_other_is_wrong() {
        let (passwords, hash) = (Passwords::new(), hashed("secret"));
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.check(HOME, ANNA, &login("secret"), &hash, false).await, Checked::Right);
        for wrong in ["", "Secret", "secret ", &"x".repeat(5000)] {
            assert_eq!(passwords.check(HOME, ANNA, &login(wrong), &hash, false).await, Checked::Wrong, "{wrong}");
        }
        assert_eq!(passwords.check(HOME, ANNA, &login("secret"), &hash, true).await, Checked::Wrong, "there is no such user");
        assert_ne!(hashed("secret"), hash, "nobody sees that two users have one password");
    }

    #[tokio::test]
    async fn wrong_ones_of_one_address_come_to_an_end_and_right_ones_do_not_count() {
        let (passwords, hash) = (Passwords::new(), hashed("secret"));
        for n in 0..2 * GUESSES_BURST {
            let identity = IdentityId([n as u8; 32]);
            assert_eq!(passwords.check(HOME, identity, &login("secret"), &hash, false).await, Checked::Right);
        }
        for _ in 0..GUESSES_BURST {
            assert_eq!(passwords.check(HOME, ANNA, &login("guess"), &hash, false).await, Checked::Wrong);
        }
        let stranger = IdentityId([9; 32]);
        let right = login("secret");
        assert_eq!(passwords.check(HOME, IdentityId([99; 32]), &right, &hash, false).await, Checked::TooMany);
        assert_eq!(passwords.check(HOME, stranger, &right, &hash, false).await, Checked::Right, "who has shown it once is not held up");
        let elsewhere = "2001:db8::1".parse().unwrap();
        assert_eq!(passwords.check(elsewhere, ANNA, &login("guess"), &hash, false).await, Checked::Wrong);
    }

    #[tokio::test]
    async fn what_was_shown_once_counts_for_that_machine_user_and_hash_only() {
        let (passwords, first) = (Passwords::new(), hashed("secret"));
        assert_eq!(passwords.check(HOME, ANNA, &login("secret"), &first, false).await, Checked::Right);
        assert!(passwords.was_shown(ANNA, &passwords.tag(&login("secret"), &first)));
        for (identity, login, hash) in [
            (IdentityId([2; 32]), login("secret"), first.clone()),
            (ANNA, login("secreT"), first.clone()),
            (ANNA, login("secret"), hashed("secret")),
            (ANNA, Login { user: "bert".into(), ..login("secret") }, first.clone()),
        ] {
            assert!(!passwords.was_shown(identity, &passwords.tag(&login, &hash)), "{login:?}");
        }
    }

    #[tokio::test]
    async fn comparing_does_not_hold_up_the_relay_and_a_crowd_is_told_to_come_again() {
        let (passwords, hash) = (Arc::new(Passwords::new()), hashed("secret"));
        let crowd = (0..QUEUE_MAX + 8).map(|n| {
            let (passwords, hash) = (Arc::clone(&passwords), Arc::clone(&hash));
            let from = IpAddr::from([198, 51, 100, n as u8]);
            tokio::spawn(async move { passwords.check(from, IdentityId([n as u8; 32]), &login("secret"), &hash, false).await })
        });
        let crowd: Vec<_> = crowd.collect();
        let (mut longest, mut last) = (std::time::Duration::ZERO, Instant::now());
        while !crowd.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        let mut outcomes = BTreeMap::new();
        for one in crowd {
            *outcomes.entry(format!("{:?}", one.await.unwrap())).or_insert(0) += 1;
        }
        assert_eq!(outcomes, BTreeMap::from([("Busy".to_owned(), 8), ("Right".to_owned(), QUEUE_MAX)]));
        assert!(longest < std::time::Duration::from_millis(500), "the thread stood still for {longest:?}");
    }

    #[test]
    fn guesses_are_counted_by_address_and_by_network_of_ipv6() {
        let at = |text: &str| place_of(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::5"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::5"), at("2001:db8:1:3::5"));
        assert_eq!(at("::ffff:192.0.2.1"), HOME);
        let passwords = Passwords::new();
        for n in 0..REMEMBERED_MAX as u32 + 100 {
            assert!(passwords.may_guess(IpAddr::from(n.to_be_bytes())));
        }
        assert_eq!(lock(&passwords.guesses).len(), REMEMBERED_MAX);
    }

    #[test]
    fn only_a_hash_that_can_be_compared_is_one() {
        assert_eq!(check_hash(&hashed("x")), Ok(()));
        let costly = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A";
        assert!(check_hash(costly).unwrap_err().contains("more than 256 MiB"));
        for bad in ["", "secret", "$2y$10$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ", "$argon2id$"] {
            let words = check_hash(bad).unwrap_err();
            assert!(words.contains("lanparty-relay password") && (bad.is_empty() || !words.contains(bad)), "{words}");
        }
    }
}
