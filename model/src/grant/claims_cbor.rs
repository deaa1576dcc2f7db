//! A grant's claims as a CWT claims set.
//!
//! ```text
//! { 1: iss, 2: sub, 3: aud, 4: exp, 5: nbf?, 6: iat, 7: cti, 8: {3: jkt}, -65537: { own claims, labels below } }
//! ```
//!
//! `cnf` names the key by `kid` (RFC 8747, label 3), as the COSE thumbprint of RFC 9679 hashes another encoding.
//! Our own claims sit in one map under one private-use label (below −65536), so that they cost one byte each.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;

use super::cbor::{MapWriter, Writer, Written, array_len, each_entry};
use super::claims::{Caps, Cnf, Curve, Directive, Grant, Level, Model, StepUpAt};
use super::id::Bytes;
use super::lottery::Lottery;
use super::{CURVE_MAX, Instance, TokenId};
use crate::decision::Bound;
use crate::money::{Currency, Money};
use crate::time::{Age, UtcOffset, UtcSeconds};
use crate::transaction::Tier;

pub(super) const OWN: i64 = -65_537;

// Labels of our own claims. A label is never used again for something else.
const SEQ: i64 = 1;
const WID: i64 = 2;
const SEEN: i64 = 3;
const TIER: i64 = 4;
const CUR: i64 = 5;
const BAL: i64 = 6;
const CARRIED: i64 = 7;
const LIMIT: i64 = 8;
const WHY: i64 = 9;
const CAP: i64 = 10;
const STEP_UP: i64 = 11;
const STANDING: i64 = 12;
const NEW_DEVICE: i64 = 13;
const MANUAL: i64 = 14;
const ATTESTED_UNTIL: i64 = 15;
const LOTTERY: i64 = 16;
const RESET: i64 = 17;
const UTC_OFFSET: i64 = 18;
const PAYMENT_VALID: i64 = 19;
const REQUEST_VALID: i64 = 20;
const NO_RECEIVE: i64 = 21;
const MDL: i64 = 22;
const POL: i64 = 23;
const FEAT: i64 = 24;

fn put_money(w: &mut Writer, money: Money) -> Written<'_> {
    w.u64(money.minor())
}

fn put_level<T>(w: &mut Writer, level: Level<T>, number: impl Fn(T) -> u64) -> Written<'_> {
    match level.ask {
        None => w.array(1)?.u64(number(level.stop)),
        Some(ask) => w.array(2)?.u64(number(level.stop))?.u64(number(ask)),
    }
}

pub(super) fn write(grant: &Grant) -> Vec<u8> {
    let mut own = MapWriter::new();
    own.put(SEQ, |w| w.u64(grant.seq));
    own.put(WID, |w| w.bytes(&grant.wid.0));
    own.put_some(SEEN, (grant.seen > 0).then_some(grant.seen), |w, n| w.u64(n));
    own.put_some(TIER, (grant.tier.level() > 0).then_some(grant.tier.level()), |w, n| w.u8(n));
    own.put(CUR, |w| w.str(&String::from(grant.cur)));
    own.put(BAL, |w| put_money(w, grant.bal));
    own.put_some(CARRIED, (grant.carried > Money::ZERO).then_some(grant.carried), put_money);
    own.put(LIMIT, |w| {
        w.array(2 * grant.limit.points().len() as u64)?;
        for (age, limit) in grant.limit.points() {
            w.u32(age.0)?.u64(limit.minor())?;
        }
        Ok(w)
    });
    own.put_some(WHY, (grant.why != Bound::Model).then_some(grant.why), |w, b| w.str(b.name()));
    own.put_some(CAP, (grant.cap != Caps::default()).then_some(&grant.cap), |w, cap| {
        let mut map = MapWriter::new();
        map.put_some(1, cap.token, put_money);
        map.put_some(2, cap.h24, put_money);
        map.put_some(3, cap.day, put_money);
        map.put_some(4, cap.week, put_money);
        map.put_some(5, cap.total, |w, l| put_level(w, l, Money::minor));
        map.put_some(6, cap.count, |w, l| put_level(w, l, u64::from));
        map.put_some(7, cap.age, |w, l| put_level(w, l, |a: Age| u64::from(a.0)));
        w.writer_mut().extend_from_slice(&map.finish());
        Ok(w)
    });
    own.put_some(STEP_UP, grant.step_up, |w, s| match s.free_total {
        None => w.array(1)?.u64(s.free_up_to.minor()),
        Some(total) => w.array(2)?.u64(s.free_up_to.minor())?.u64(total.minor()),
    });
    own.put_some(STANDING, grant.standing, put_money);
    own.put_some(NEW_DEVICE, grant.new_device, put_money);
    own.put_some(MANUAL, grant.manual, put_money);
    own.put_some(ATTESTED_UNTIL, grant.attested_until, |w, at| w.i64(at.0));
    own.put_some(LOTTERY, grant.lottery, |w, l| {
        w.array(5)?.bytes(&l.seed.0)?.u32(l.base)?.u32(l.full)?.u64(l.from.minor())?.u64(l.full_at.minor())
    });
    own.put_some(RESET, (grant.reset != Directive::Reset).then_some(grant.reset), |w, directive| match directive {
        Directive::Reset => w.array(1)?.u8(0),
        Directive::Keep => w.array(1)?.u8(1),
        Directive::Lock => w.array(1)?.u8(2),
        Directive::Add(amount) => w.array(2)?.u8(3)?.u64(amount.minor()),
    });
    let offset = grant.utc_offset_min;
    own.put_some(UTC_OFFSET, (offset.0 != 0).then_some(offset), |w, o| w.i16(o.0));
    let valid = grant.payment_valid_s;
    own.put_some(PAYMENT_VALID, (valid != super::claims::PAYMENT_VALID_S).then_some(valid), |w, s| w.u32(s));
    let valid = grant.request_valid_s;
    own.put_some(REQUEST_VALID, (valid != super::claims::REQUEST_VALID_S).then_some(valid), |w, s| w.u32(s));
    own.put_some(NO_RECEIVE, grant.no_receive.then_some(true), |w, b| w.bool(b));
    own.put_some(MDL, grant.mdl, |w, m| w.array(2)?.u64(m.v)?.bytes(&m.d.0));
    own.put_some(POL, grant.pol, |w, p| w.bytes(&p.0));
    own.put_some(FEAT, grant.feat, |w, f| w.bytes(&f.0));

    let mut claims = MapWriter::new();
    claims.put(1, |w| w.str(&grant.iss));
    claims.put(2, |w| w.str(&grant.sub));
    claims.put(3, |w| w.str(&grant.aud));
    claims.put(4, |w| w.i64(grant.exp.0));
    claims.put_some(5, grant.nbf, |w, at| w.i64(at.0));
    claims.put(6, |w| w.i64(grant.iat.0));
    claims.put(7, |w| w.bytes(&grant.jti.0));
    claims.put(8, |w| w.map(1)?.u8(3)?.bytes(&grant.cnf.jkt.0));
    claims.put(OWN, |w| {
        w.writer_mut().extend_from_slice(&own.finish());
        Ok(w)
    });
    claims.finish()
}

pub(super) fn bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<Bytes<N>, Error> {
    Bytes::try_from(d.bytes()?).map_err(|_| Error::message("a byte string of another length"))
}

pub(super) fn money(d: &mut Decoder<'_>) -> Result<Money, Error> {
    Money::from_minor(d.u64()?).map_err(|_| Error::message("an amount above 10^15 minor units"))
}

pub(super) fn currency(d: &mut Decoder<'_>) -> Result<Currency, Error> {
    Currency::try_from(d.str()?.to_owned()).map_err(|_| Error::message("not a currency"))
}

pub(super) fn time(d: &mut Decoder<'_>) -> Result<UtcSeconds, Error> {
    Ok(UtcSeconds(d.i64()?))
}

fn level<T: Copy + Ord>(
    d: &mut Decoder<'_>,
    one: impl Fn(&mut Decoder<'_>) -> Result<T, Error>,
) -> Result<Level<T>, Error> {
    let levels = (0..array_len(d, 2)?).map(|_| one(d)).collect::<Result<Vec<_>, _>>()?;
    Level::try_from(levels).map_err(Error::message)
}

fn caps(d: &mut Decoder<'_>) -> Result<Caps, Error> {
    let mut caps = Caps::default();
    each_entry(d, |d, label| {
        match label {
            1 => caps.token = Some(money(d)?),
            2 => caps.h24 = Some(money(d)?),
            3 => caps.day = Some(money(d)?),
            4 => caps.week = Some(money(d)?),
            5 => caps.total = Some(level(d, money)?),
            6 => caps.count = Some(level(d, |d| d.u32())?),
            7 => caps.age = Some(level(d, |d| d.u32().map(Age))?),
            _ => return Err(Error::message("cap: an unknown claim")),
        }
        Ok(())
    })?;
    Ok(caps)
}

fn bound(name: &str) -> Result<Bound, Error> {
    Bound::from_name(name).ok_or(Error::message("why: an unknown rule"))
}

fn step_up(d: &mut Decoder<'_>) -> Result<StepUpAt, Error> {
    match array_len(d, 2)? {
        1 => Ok(StepUpAt { free_up_to: money(d)?, free_total: None }),
        2 => Ok(StepUpAt { free_up_to: money(d)?, free_total: Some(money(d)?) }),
        _ => Err(Error::message("step_up: not one or two amounts")),
    }
}

fn lottery(d: &mut Decoder<'_>) -> Result<Lottery, Error> {
    if array_len(d, 5)? != 5 {
        return Err(Error::message("lottery: not five values"));
    }
    Ok(Lottery { seed: bytes(d)?, base: d.u32()?, full: d.u32()?, from: money(d)?, full_at: money(d)? })
}

fn directive(d: &mut Decoder<'_>) -> Result<Directive, Error> {
    match (array_len(d, 2)?, d.u8()?) {
        (1, 1) => Ok(Directive::Keep),
        (1, 2) => Ok(Directive::Lock),
        (2, 3) => Ok(Directive::Add(money(d)?)),
        _ => Err(Error::message("reset: an unknown directive")),
    }
}

fn curve(d: &mut Decoder<'_>) -> Result<Curve, Error> {
    let numbers = array_len(d, 2 * CURVE_MAX)?;
    if numbers % 2 == 1 {
        return Err(Error::message("limit: an age without an amount"));
    }
    let points = (0..numbers / 2).map(|_| Ok((Age(d.u32()?), money(d)?))).collect::<Result<Vec<_>, Error>>()?;
    Curve::new(points).map_err(Error::message)
}

/// A required claim that is missing.
pub(super) fn required<T>(claim: Option<T>, name: &str) -> Result<T, Error> {
    claim.ok_or_else(|| Error::message(format_args!("{name} is missing")))
}

pub(super) fn read(claims: &[u8]) -> Result<Grant, Error> {
    let (mut iss, mut sub, mut aud) = (None, None, None);
    let (mut exp, mut nbf, mut iat): (_, Option<UtcSeconds>, _) = (None, None, None);
    let (mut jti, mut jkt, mut own) = (None::<TokenId>, None::<Bytes<32>>, None);
    let mut d = Decoder::new(claims);
    each_entry(&mut d, |d, label| {
        match label {
            1 => iss = Some(d.str()?.to_owned()),
            2 => sub = Some(d.str()?.to_owned()),
            3 => aud = Some(d.str()?.to_owned()),
            4 => exp = Some(time(d)?),
            5 => nbf = Some(time(d)?),
            6 => iat = Some(time(d)?),
            7 => jti = Some(bytes(d)?),
            8 => each_entry(d, |d, label| match label {
                3 => bytes(d).map(|b| jkt = Some(b)),
                _ => Err(Error::message("cnf: an unknown member")),
            })?,
            OWN if d.datatype()? == Type::Map => own = Some(read_own(d)?),
            _ => return Err(Error::message("an unknown claim")),
        }
        Ok(())
    })?;
    let grant = required(own, "our claims")?;
    Ok(Grant {
        iss: required(iss, "iss")?,
        aud: required(aud, "aud")?,
        sub: required(sub, "sub")?,
        jti: required(jti, "cti")?,
        iat: required(iat, "iat")?,
        nbf,
        exp: required(exp, "exp")?,
        cnf: Cnf { jkt: required(jkt, "cnf")? },
        ..grant
    })
}

/// Our own claims, in a grant whose registered ones are still to be filled in.
fn read_own(d: &mut Decoder<'_>) -> Result<Grant, Error> {
    let (mut seq, mut wid, mut cur, mut bal, mut limit) = (None, None::<Instance>, None, None, None);
    let nothing = Curve::new(vec![(Age(0), Money::ZERO)]).expect("a curve of one point");
    let unit = Currency::new("XXX", 0).expect("ISO 4217's code for no currency");
    let mut g = Grant::plain(
        String::new(),
        String::new(),
        String::new(),
        TokenId::default(),
        (UtcSeconds(0), UtcSeconds(0)),
        0,
        Bytes::default(),
        Instance::default(),
        unit,
        Money::ZERO,
        nothing,
    );
    each_entry(d, |d, label| {
        match label {
            SEQ => seq = Some(d.u64()?),
            WID => wid = Some(bytes(d)?),
            SEEN => g.seen = d.u64()?,
            TIER => g.tier = Tier::new(d.u8()?).map_err(|_| Error::message("tier: does not exist"))?,
            CUR => cur = Some(currency(d)?),
            BAL => bal = Some(money(d)?),
            CARRIED => g.carried = money(d)?,
            LIMIT => limit = Some(curve(d)?),
            WHY => g.why = bound(d.str()?)?,
            CAP => g.cap = caps(d)?,
            STEP_UP => g.step_up = Some(step_up(d)?),
            STANDING => g.standing = Some(money(d)?),
            NEW_DEVICE => g.new_device = Some(money(d)?),
            MANUAL => g.manual = Some(money(d)?),
            ATTESTED_UNTIL => g.attested_until = Some(time(d)?),
            LOTTERY => g.lottery = Some(lottery(d)?),
            RESET => g.reset = directive(d)?,
            UTC_OFFSET => g.utc_offset_min = UtcOffset(d.i16()?),
            PAYMENT_VALID => g.payment_valid_s = d.u32()?,
            REQUEST_VALID => g.request_valid_s = d.u32()?,
            NO_RECEIVE => g.no_receive = d.bool()?,
            MDL if array_len(d, 2)? == 2 => g.mdl = Some(Model { v: d.u64()?, d: bytes(d)? }),
            POL => g.pol = Some(bytes(d)?),
            FEAT => g.feat = Some(bytes(d)?),
            _ => return Err(Error::message("an unknown claim of ours")),
        }
        Ok(())
    })?;
    g.seq = required(seq, "seq")?;
    g.wid = required(wid, "wid")?;
    g.cur = required(cur, "cur")?;
    g.bal = required(bal, "bal")?;
    g.limit = required(limit, "limit")?;
    Ok(g)
}
