//! A fleet of real wallets against the whole service: they go offline, pay each other, and come back in any order, while
//! some of them try what must not work.
//!
//! ```text
//! seed ─► streets ─► phones: wallet and payee over storage in memory ─► JWT, signed messages ─► border ─► api ─► store
//!            │                    pay each other without a network
//!            └─► crooks, each with an attack of the test plan
//!                                                                    at the end: money, nonces, grants, limits, promises
//! ```
//!
//! Time is simulated: a tick is four hours, and the service's clock is set with it. All of it follows from the seed but
//! the names that the service draws for grants.

mod attack;

mod draw;

mod house;

mod household;

mod phone;

mod report;

mod street;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use plimsoll_model::UtcSeconds;
use plimsoll_model::time::DAY;
use tokio::task::JoinSet;

pub use attack::Attack;
pub use draw::Draw;
pub use report::{Checked, Ended, Report, TierReport};

use house::House;
use street::Street;

/// Ticks of a simulated day.
const TICKS_A_DAY: u64 = 6;
/// Seconds of a tick.
const TICK_S: i64 = DAY / TICKS_A_DAY as i64;
/// Wallets of a street.
const STREET: u64 = 10;
/// Days before the first tick on which accounts are opened: no device is new any more when it begins.
const OPENED_BEFORE_DAYS: i64 = 2;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Honest wallets. Each attack brings two accounts of its own.
    pub wallets: u64,
    /// Simulated days.
    pub days: u64,
    /// Everything follows from it.
    pub seed: u64,
    /// A directory for keys, archive and, where no other store is named, the SQLite file.
    pub home: PathBuf,
    /// The repository that the model comes from.
    pub repository: PathBuf,
    /// The root that is trusted.
    pub root: PathBuf,
    /// An empty store; SQLite in `home` when not given.
    pub store: Option<String>,
}

/// Why the fleet could not be played to its end; what is found at the end is in the [`Report`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A file.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        why: String,
    },
    /// The service does not start, or its store does not read.
    #[error("the service: {0}")]
    Service(String),
    /// The service refused what it has to answer.
    #[error("{path} answered {status}: {told}")]
    Answer {
        /// Which request.
        path: String,
        /// HTTP status.
        status: u16,
        /// The body.
        told: String,
    },
    /// A wallet or payee did not do what it has to.
    #[error("a wallet: {0}")]
    Wallet(String),
    /// Something that must hold at every moment does not.
    #[error("{0}")]
    Broken(String),
    /// The service has no model: its limits are a floor, and there is nothing to compare.
    #[error("no model decides: name a repository and its root")]
    NoModel,
}

impl FleetError {
    fn file(path: &Path, why: &std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), why: why.to_string() }
    }
}

/// Plays it.
///
/// * `told`: gets a line now and then.
///
/// # Errors
/// [`FleetError`].
pub async fn run(plan: &Plan, mut told: impl FnMut(String)) -> Result<Report, FleetError> {
    let wall = Instant::now();
    // A day after the release was signed: its metadata has not expired, and its model is new.
    let begins = UtcSeconds((signed_at(&plan.repository)?.0 / DAY + OPENED_BEFORE_DAYS + 1) * DAY);
    let house = Arc::new(House::open(plan, begins.plus(-OPENED_BEFORE_DAYS * DAY)).await?);
    if house.app.models.for_everyone().evaluator().is_none() {
        return Err(FleetError::NoModel);
    }
    let mut streets = open(plan, &house).await?;
    told(format!("{} streets opened in {:.0?}", streets.len(), wall.elapsed()));
    for tick in 0..plan.days * TICKS_A_DAY {
        house.app.clock.set(begins.plus(tick as i64 * TICK_S));
        streets = together(streets, |mut street| {
            let house = Arc::clone(&house);
            async move { street.tick(&house, tick).await.map(|()| street) }
        })
        .await?;
        if (tick + 1) % TICKS_A_DAY == 0 {
            house.watch(house.now()).await?;
        }
        if (tick + 1) % (5 * TICKS_A_DAY) == 0 {
            told(format!("day {} after {:.0?}", (tick + 1) / TICKS_A_DAY, wall.elapsed()));
        }
    }
    house.app.clock.set(begins.plus((plan.days * TICKS_A_DAY) as i64 * TICK_S));
    streets = together(streets, |mut street| {
        let house = Arc::clone(&house);
        async move { street.end(&house).await.map(|()| street) }
    })
    .await?;
    // Long after the last window.
    house.watch(house.now().plus(30 * DAY)).await?;
    told(format!("everybody is back after {:.0?}: checking", wall.elapsed()));
    let report = report::check(plan, &house, &mut streets).await?;
    house.app.store.close().await;
    Ok(report)
}

async fn open(plan: &Plan, house: &Arc<House>) -> Result<Vec<Street>, FleetError> {
    let count = plan.wallets.div_ceil(STREET);
    let all = Attack::ALL.len() as u64;
    let streets = (0..count).map(|number| {
        let phones = STREET.min(plan.wallets - number * STREET);
        // Every attack somewhere, and one on each street of a large fleet.
        let plays = |i: u64| i % count == number || number % all == i;
        let crimes: Vec<Attack> = (0..all).filter(|i| plays(*i)).map(|i| Attack::ALL[i as usize]).collect();
        (number, phones as usize, crimes)
    });
    together(streets.collect(), |(number, phones, crimes)| {
        let (house, draw) = (Arc::clone(house), Draw::new(plan.seed, number));
        async move { Street::open(&house, number, phones, &crimes, draw).await }
    })
    .await
}

/// All at once, in their order again afterwards.
async fn together<A, B, F>(all: Vec<A>, each: impl Fn(A) -> F) -> Result<Vec<B>, FleetError>
where
    B: Send + 'static,
    F: Future<Output = Result<B, FleetError>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for (i, one) in all.into_iter().enumerate() {
        let done = each(one);
        running.spawn(async move { (i, done.await) });
    }
    let mut done = Vec::with_capacity(running.len());
    while let Some(joined) = running.join_next().await {
        let (i, one) = joined.map_err(|e| FleetError::Broken(e.to_string()))?;
        done.push((i, one?));
    }
    done.sort_by_key(|d| d.0);
    Ok(done.into_iter().map(|d| d.1).collect())
}

/// When the repository's newest release was signed.
fn signed_at(repository: &Path) -> Result<UtcSeconds, FleetError> {
    let path = repository.join("metadata/timestamp.json");
    let bytes = std::fs::read(&path).map_err(|e| FleetError::file(&path, &e))?;
    let timestamp: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|e| FleetError::File { path: path.display().to_string(), why: e.to_string() })?;
    let at = timestamp["signed"][plimsoll_edge::trust::SIGNED_AT].as_i64();
    let why = "does not say when it was signed".to_owned();
    at.map(UtcSeconds).ok_or(FleetError::File { path: path.display().to_string(), why })
}
