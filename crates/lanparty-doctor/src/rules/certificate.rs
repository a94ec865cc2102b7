//! Is the relay who it should be, and is this host's clock fit to judge its dates?

use crate::words::{day, list, span};
use crate::{CertificateFacts, Code, Finding, RelayFacts};

/// A clock that is off by more than this is said to be wrong: far above any network's delay, far below what breaks
/// certificates.
const CLOCK_OFFSET_S_MAX: f64 = 60.0;

pub(super) fn findings(relay: &RelayFacts, found: &mut Vec<Finding>) {
    found.extend(clock_wrong(relay));
    let Some(certificate) = &relay.certificate else { return };
    found.extend(expired(certificate));
    found.extend(not_yet_valid(certificate));
    found.extend(untrusted(certificate));
    found.extend(wrong_name(certificate));
}

fn clock_wrong(relay: &RelayFacts) -> Option<Finding> {
    let offset = relay.clock_offset_s.filter(|s| s.abs() > CLOCK_OFFSET_S_MAX)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are what is shown")]
    let whole = offset as i64;
    let direction = if whole > 0 { "ahead of" } else { "behind" };
    let finding = Finding::warning(Code::ClockWrong, format!("this machine's clock is {} {direction} the relay's", span(whole)))
        .seen_by([format!("difference {offset:.0} s, measured with one round trip")])
        .advise("set the clock, for example with `sudo timedatectl set-ntp true`; when this clock is right, the relay's is wrong");
    // Only where the relay's own clock would accept the certificate is the clock the cause.
    let certificate = relay.certificate.as_ref();
    let by_relay = certificate.and_then(|c| Some((c, c.now_s? - whole)));
    Some(if by_relay.is_some_and(|(c, now)| is_current(c, now)) {
        finding.hiding(&[Code::RelayCertificateExpired, Code::RelayCertificateNotYetValid, Code::QuicHandshakeFailed])
    } else {
        finding
    })
}

fn is_current(c: &CertificateFacts, now: i64) -> bool {
    c.not_before_s.is_none_or(|from| from <= now) && c.not_after_s.is_none_or(|until| now <= until)
}

fn expired(c: &CertificateFacts) -> Option<Finding> {
    let (now, until) = (c.now_s?, c.not_after_s?);
    (until < now).then(|| {
        Finding::error(Code::RelayCertificateExpired, format!("the relay's certificate expired {} ago", span(now - until)))
            .seen_by([format!("valid until {}, and this machine's clock says {}", day(until), day(now))])
            .advise("renew the relay's certificate; when only this machine sees it as old, set its clock")
            .hiding(&[Code::QuicHandshakeFailed, Code::RelayCertificateUntrusted])
    })
}

fn not_yet_valid(c: &CertificateFacts) -> Option<Finding> {
    let (now, from) = (c.now_s?, c.not_before_s?);
    (from > now).then(|| {
        Finding::error(Code::RelayCertificateNotYetValid, format!("the relay's certificate becomes valid only in {}", span(from - now)))
            .seen_by([format!("valid from {}, and this machine's clock says {}", day(from), day(now))])
            .advise("set this machine's clock; when it is right, set the clock of the machine that made the certificate and make it anew")
            .hiding(&[Code::QuicHandshakeFailed, Code::RelayCertificateUntrusted])
    })
}

fn untrusted(c: &CertificateFacts) -> Option<Finding> {
    let source = c.trust_source.as_deref().unwrap_or("what this machine trusts");
    (!c.trusted?).then(|| {
        Finding::error(Code::RelayCertificateUntrusted, format!("the relay's certificate is not vouched for by {source}"))
            .seen_by([format!("it is issued for {}", names(c))])
            .advise("give the relay's own certificate with --relay-ca-cert FILE; when you did, the relay has a new one: copy it again")
            .hiding(&[Code::QuicHandshakeFailed])
    })
}

fn wrong_name(c: &CertificateFacts) -> Option<Finding> {
    (!c.name_matches?).then(|| {
        let title = format!("the relay's certificate is for {}, not for `{}`", names(c), c.asked_name);
        let advice = match c.names.first() {
            Some(name) => format!("when this is your relay, add `--server-name {name}`"),
            None => "make a certificate with the relay's name in it".to_owned(),
        };
        Finding::error(Code::RelayCertificateWrongName, title).advise(advice).hiding(&[Code::QuicHandshakeFailed])
    })
}

fn names(c: &CertificateFacts) -> String {
    if c.names.is_empty() { "no name at all".to_owned() } else { format!("`{}`", list(&c.names)) }
}
