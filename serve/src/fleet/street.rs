//! A street: neighbours who pay each other offline, a shop without an account here, and who tries what must not work.
//!
//! Streets share no account, so that all of them go on at once and each is the same as if it were alone.

use std::collections::BTreeMap;

use plimsoll_edge::Payee;
use plimsoll_edge::payee::PayeeRules;
use plimsoll_edge::storage::Memory;
use plimsoll_edge::wallet::Decision;
use plimsoll_model::grant::{Bytes, TokenId};
use plimsoll_model::time::DAY;
use plimsoll_model::{Money, Tier, UtcSeconds};

use super::attack::{Attack, Crime};
use super::draw::Draw;
use super::house::{By, House};
use super::phone::{Phone, Verdict, held, settle};
use super::{FleetError, TICKS_A_DAY};

/// Ticks for which a wallet is away, at most: two and a half days.
const AWAY_MAX: u64 = 2 * TICKS_A_DAY + TICKS_A_DAY / 2;
/// Payments that a payee here takes before it settles.
const UNSETTLED_MAX: usize = 100;

/// A street and everything that is known of it.
#[derive(Debug)]
pub(super) struct Street {
    pub(super) phones: Vec<Phone>,
    pub(super) crimes: Vec<Crime>,
    shop: Payee<Memory>,
    /// Payments that were handed over, by nonce.
    pub(super) handed: BTreeMap<String, Sent>,
    pub(super) book: Book,
    draw: Draw,
}

/// One payment that was handed over.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Which phone.
    pub(super) payer: usize,
    /// Which phone; the shop when none.
    pub(super) payee: Option<usize>,
    pub(super) grant: TokenId,
    pub(super) amount: i64,
    /// What was credited.
    pub(super) settled: Option<i64>,
}

/// What came in and left, and what did not go as it should have.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Minor units: openings, income.
    pub(super) came_in: i64,
    /// Minor units: bills, purchases, payments to the shop.
    pub(super) left: i64,
    /// Payments that settled.
    pub(super) settled: u64,
    /// Syncs after which device and service differed.
    pub(super) unequal: u64,
    /// What must not be.
    pub(super) broken: Vec<String>,
}

impl Street {
    /// Opens every account of a street.
    pub(super) async fn open(
        house: &House,
        number: u64,
        phones: usize,
        crimes: &[Attack],
        mut draw: Draw,
    ) -> Result<Self, FleetError> {
        let mut street = Vec::with_capacity(phones);
        for i in 0..phones {
            // As the programme's own population: some with a number only, most with a card, some with both.
            let tier = Tier::new(*draw.of(&[0, 1, 1, 1, 2, 2])).expect("one of the programme's");
            let name = format!("s{number}-w{i}");
            let mut phone = Phone::open(house, name, tier, Draw::new(draw.next(), i as u64)).await?;
            phone.back_at = phone.draw.below(TICKS_A_DAY);
            street.push(phone);
        }
        let mut committed = Vec::with_capacity(crimes.len());
        for (i, attack) in crimes.iter().enumerate() {
            committed.push(Crime::open(house, *attack, &format!("s{number}-x{i}"), &mut draw).await?);
        }
        let active = house.app.models.for_everyone();
        let rules = PayeeRules {
            payee: format!("shop-of-{number}"),
            programme: active.policy().programme.clone(),
            currency: active.policy().currency,
            may_receive: true,
            exposure_max: None,
            request_valid_s: active.policy().token.request_valid_s,
        };
        let shop = Payee::open(Memory::default(), rules, (*house.issuer_keys()).clone())
            .map_err(|e| FleetError::Wallet(e.to_string()))?;
        let opened = street.iter().chain(committed.iter().flat_map(Crime::phones)).map(|p| p.book).sum();
        let book = Book { came_in: opened, ..Book::default() };
        Ok(Self { phones: street, crimes: committed, shop, handed: BTreeMap::new(), book, draw })
    }

    /// Some hours: what happens by itself, what is paid offline, who comes back, and who tries something.
    pub(super) async fn tick(&mut self, house: &House, tick: u64) -> Result<(), FleetError> {
        let now = house.now();
        if tick.is_multiple_of(TICKS_A_DAY) {
            let midnight = UtcSeconds(now.0 / DAY * DAY - DAY);
            for phone in &mut self.phones {
                let moved = phone.live(house, midnight, phone.back_at == tick).await?;
                if moved >= 0 { self.book.came_in += moved } else { self.book.left -= moved }
            }
        }
        for payer in 0..self.phones.len() {
            self.pay(house, payer, now)?;
        }
        // In any order: one time the payee first, the other time the payer.
        let mut order: Vec<usize> = (0..self.phones.len()).filter(|i| self.phones[*i].back_at == tick).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, usize::try_from(self.draw.below(i as u64 + 1)).expect("an index"));
        }
        for who in order {
            self.come_back(house, who, tick).await?;
        }
        if tick % TICKS_A_DAY == TICKS_A_DAY / 2 {
            self.close_shop(house).await?;
        }
        for crime in &mut self.crimes {
            crime.tick(house, tick, &mut self.book).await?;
        }
        Ok(())
    }

    /// The end: everybody comes back once more, and nothing is left open.
    pub(super) async fn end(&mut self, house: &House) -> Result<(), FleetError> {
        for who in 0..self.phones.len() {
            self.come_back(house, who, 0).await?;
        }
        self.close_shop(house).await?;
        for who in 0..self.phones.len() {
            while !held(&self.phones[who].payee).is_empty() {
                self.phones[who].settle(house).await?.iter().for_each(|verdict| self.judged(verdict));
            }
        }
        if let Some((nonce, sent)) = self.handed.iter().find(|(_, sent)| sent.settled.is_none()) {
            self.book.broken.push(format!("{nonce} was handed over and never settled: {sent:?}"));
        }
        Ok(())
    }

    /// One neighbour pays another, or the shop, without a network.
    fn pay(&mut self, house: &House, payer: usize, now: UtcSeconds) -> Result<(), FleetError> {
        let spends_all = self.phones[payer].spends_all;
        if self.phones[payer].wallet.grant().is_none() || !self.draw.one_in(if spends_all { 2 } else { 5 }) {
            return Ok(());
        }
        let (left, most) = self.phones[payer].remaining(house)?;
        let wanted = if spends_all { left.minor() } else { 100 + self.draw.below(1_900) };
        // Some ask for more than there is, and are declined.
        let amount = if self.draw.one_in(12) { wanted.max(1) } else { wanted.min(most.minor()) };
        let Ok(amount) = Money::from_minor(amount) else { return Ok(()) };
        if amount == Money::ZERO {
            self.phones[payer].seen.declined += 1;
            return Ok(());
        }
        let other = usize::try_from(self.draw.below(self.phones.len() as u64)).expect("an index");
        let payee = (other != payer && !self.draw.one_in(3) && self.may_receive(house, other)).then_some(other);
        let request = match payee {
            _ if is_full(payee.map_or(&self.shop, |p| &self.phones[p].payee)) => return Ok(()),
            Some(payee) => self.phones[payee].request(amount, now)?,
            None => {
                let nonce = Bytes(self.draw.bytes());
                self.shop.ask(amount, nonce, now).map_err(|e| FleetError::Wallet(e.to_string()))?
            }
        };
        let Decision::Approve { token, .. } = self.phones[payer].answer(house, &request, now)? else {
            self.phones[payer].seen.declined += 1;
            return Ok(());
        };
        let Some(grant) = self.phones[payer].wallet.grant() else { return Ok(()) };
        let sent = Sent { payer, payee, grant: grant.jti, amount: amount.minor() as i64, settled: None };
        let grant = grant.bytes().to_vec();
        let taker = payee.map_or(&mut self.shop, |p| &mut self.phones[p].payee);
        if let Err(refused) = taker.take(&grant, &token, now) {
            self.book.broken.push(format!("a payment that a wallet approved is refused by its payee: {refused}"));
        }
        self.phones[payer].seen.paid += 1;
        self.handed.insert(request.nonce.to_string(), sent);
        Ok(())
    }

    fn may_receive(&self, house: &House, payee: usize) -> bool {
        house.app.models.for_everyone().policy().tier(self.phones[payee].tier).receive
    }

    /// A phone is online: it settles what it got, syncs, and goes away again.
    async fn come_back(&mut self, house: &House, who: usize, tick: u64) -> Result<(), FleetError> {
        let phone = &mut self.phones[who];
        let mut verdicts = phone.settle(house).await?;
        let (of_sync, equal) = phone.sync(house).await?;
        phone.back_at = tick + 1 + phone.draw.below(AWAY_MAX);
        verdicts.extend(of_sync);
        verdicts.iter().for_each(|verdict| self.judged(verdict));
        self.book.unequal += u64::from(!equal);
        Ok(())
    }

    /// The shop has no account here: a bridge settles for it.
    async fn close_shop(&mut self, house: &House) -> Result<(), FleetError> {
        loop {
            let held = held(&self.shop);
            if held.is_empty() {
                return Ok(());
            }
            let tokens: Vec<&String> = held.iter().map(|h| &h.1).collect();
            settle(house, By::Bridge, &tokens).await?.iter().for_each(|verdict| self.judged(verdict));
            let nonces: Vec<TokenId> = held.iter().map(|h| h.0).collect();
            self.shop.settled(&nonces).map_err(|e| FleetError::Wallet(e.to_string()))?;
        }
    }

    /// Keeps the books of an answer. What an honest wallet approved is settled whole, once.
    fn judged(&mut self, verdict: &Verdict) {
        let nonce = verdict.nonce.clone().unwrap_or_default();
        let Some(sent) = self.handed.get_mut(&nonce) else {
            self.book.broken.push(format!("a verdict on {nonce}, which nobody handed in: {verdict:?}"));
            return;
        };
        if verdict.status != "settled" || verdict.credited != sent.amount {
            self.book.broken.push(format!("an approved payment of {} did not settle: {verdict:?}", sent.amount));
        }
        if verdict.again != sent.settled.is_some() {
            self.book.broken.push(format!("{nonce} was settled {:?}, and then {verdict:?}", sent.settled));
        }
        if verdict.again || verdict.credited <= 0 {
            return;
        }
        sent.settled = Some(verdict.credited);
        self.book.settled += 1;
        match sent.payee {
            Some(payee) => self.phones[payee].book += verdict.credited,
            None => self.book.left += verdict.credited,
        }
        let payer = &mut self.phones[sent.payer];
        payer.book -= verdict.credited;
        if verdict.overdraft > 0 {
            payer.overdrawn(&sent.grant, verdict.overdraft);
        }
    }
}

fn is_full(payee: &Payee<Memory>) -> bool {
    payee.unsettled().count() >= UNSETTLED_MAX
}
