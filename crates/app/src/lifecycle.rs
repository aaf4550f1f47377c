//! From settings to a server at work, and from a signal to its end.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use hookcast_core::{
    clock::{Clock, SystemClock},
    format::Formatter,
    guard::{AllowedNetworks, AllowedPorts, Rules},
    policy::HealthPolicy,
    sealing::MasterKeys,
    token::TokenHash,
};
use hookcast_delivery::{
    client::{Client, ClientSettings},
    mail::{MailSettings, Mailer},
    quotas::Quota,
    service::{Resources, Service, Settings},
    target::Defaults,
};
use hookcast_store::{
    Limits, Location, ServerLock, Settings as StoreSettings, SqliteLocation, Store, StoreError, StoreKind, engine::Role,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    api::{self, ApiState, Health},
    config::{self, Config, NodeRole},
    outbox::{self, Here},
    server,
    tokens::Tokens,
};

/// Bytes of bodies that deliveries hold in memory, whatever their number.
const BODIES_IN_MEMORY: usize = 64 * 1024 * 1024;

/// Opens the store that the settings name, making it where there is none.
///
/// # Errors
/// The store's own.
pub async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let database = &config.database;
    let settings = StoreSettings {
        limits: Limits {
            max_size: database.max_size.unwrap_or(0),
            min_free_disk: database.min_free_disk,
            max_waiting: config.delivery.max_waiting,
            ..Limits::default()
        },
        connections: database.connections,
        prepared_statements: database.prepared_statements,
        require_durable: database.require_durable,
        ca_file: database.ca_file.clone(),
    };
    hookcast_store::connect(&location(config)?, &settings)
        .await
        .with_context(|| format!("the store at {}", config.database.url))
}

fn location(config: &Config) -> anyhow::Result<Location> {
    Ok(Location::parse(config.database.url.expose())?)
}

/// Does some work on a store that is there, and closes it.
///
/// # Errors
/// There is no store, or the work's own.
pub async fn with_existing_store<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Arc<dyn Store>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if let Some(path) = missing_file(config)? {
        anyhow::bail!(
            "there is no store at {}: `hookcast serve` or `hookcast migrate` makes one, and --database-url names another",
            path.display()
        );
    }
    let store = open_whole_store(config).await?;
    let result = work(&store).await;
    store.close().await;
    result
}

/// Where an embedded store should be and is not. Of one on a server only connecting can tell.
fn missing_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    let Location::Sqlite(location) = location(config)? else { return Ok(None) };
    let path = std::path::absolute(location.path())?;
    Ok((!path.exists()).then_some(path))
}

/// Opens the store as [`open_store`] does, unless it is the target of a copy that is not whole.
async fn open_whole_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let store = open_store(config).await?;
    let refusal = match store.progress().await {
        Ok(None) => return Ok(store),
        Ok(Some(_)) => anyhow::anyhow!(
            "the store at {} is an unfinished copy: run `hookcast store copy` again, which ends it",
            config.database.url
        ),
        Err(error) => error.into(),
    };
    store.close().await;
    Err(refusal)
}

/// Does some work on two stores, of which the first is there and no server of an embedded one lives, and closes them. No
/// server starts on an embedded one meanwhile.
///
/// # Errors
/// The stores are not so, or the work's own.
pub async fn with_two_stores<T>(
    from: &Config,
    to: &Config,
    work: impl AsyncFnOnce(&Arc<dyn Store>, &Arc<dyn Store>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if let Some(path) = missing_file(from)? {
        anyhow::bail!("there is no store at {}", path.display());
    }
    anyhow::ensure!(!are_same(&location(from)?, &location(to)?), "both URLs name the same store");
    let _source_lock = lock_out_servers(from)?;
    let _target_lock = lock_out_servers(to)?;
    let source = open_store(from).await?;
    let target = match open_store(to).await {
        Ok(target) => target,
        Err(error) => {
            source.close().await;
            return Err(error);
        }
    };
    let result = async {
        end_dead_servers(from, &source).await?;
        work(&source, &target).await
    };
    let result = result.await;
    source.close().await;
    target.close().await;
    result
}

fn are_same(one: &Location, other: &Location) -> bool {
    let path = |location: &SqliteLocation| std::fs::canonicalize(location.path()).ok();
    match (one, other) {
        (Location::Sqlite(one), Location::Sqlite(other)) => path(one).is_some_and(|one| path(other) == Some(one)),
        _ => one == other,
    }
}

/// Takes the place of an embedded store's server.
fn lock_out_servers(config: &Config) -> anyhow::Result<Option<ServerLock>> {
    let Location::Sqlite(location) = location(config)? else { return Ok(None) };
    match ServerLock::take(&location) {
        Ok(lock) => Ok(Some(lock)),
        Err(StoreError::Conflict) => anyhow::bail!("a server has {}: stop it first", location.path().display()),
        Err(error) => Err(error.into()),
    }
}

/// Where callbacks may go, from the settings.
pub fn guard_rules(config: &Config) -> Rules {
    let delivery = &config.delivery;
    let ports = match delivery.allow_ports.as_slice() {
        [] => AllowedPorts::Usual,
        listed => AllowedPorts::Only(listed.to_vec()),
    };
    let networks = AllowedNetworks::new(delivery.allow_networks.clone());
    Rules { networks, https_only: delivery.https_only, ports }
}

/// What sends mails, from the settings; `None` where they name no server for them.
///
/// # Errors
/// The file of authorities cannot be used.
pub fn mailer(config: &Config) -> anyhow::Result<Option<Mailer>> {
    let mail = &config.mail;
    let (Some(server), Some(from)) = (mail.smtp.clone(), mail.from.clone()) else { return Ok(None) };
    let settings = MailSettings {
        server,
        from,
        requires_tls: mail.requires_tls,
        extra_authorities: mail.ca_file.clone(),
        timeout: mail.timeout,
    };
    Ok(Some(Mailer::new(settings)?))
}

/// What secrets in the store are encrypted with, from the settings; `None` where they are not.
pub fn master_keys(config: &Config) -> Option<MasterKeys> {
    let mut keys = config.encryption.master_keys.iter().cloned();
    keys.next().map(|current| MasterKeys::new(current, keys.collect()))
}

/// What delivery needs, from the settings.
///
/// # Errors
/// The client's own and the mailer's, such as a file of authorities that cannot be read.
pub fn resources(config: &Config, store: Arc<dyn Store>) -> anyhow::Result<Resources> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = ClientSettings {
        timeout: config.delivery.timeout,
        connect_timeout: config.delivery.connect_timeout,
        rules: guard_rules(config),
        proxy: config.delivery.proxy.clone(),
        extra_authorities: config.delivery.ca_file.clone(),
    };
    let client = Client::new(settings, Arc::clone(&clock))?;
    let master_keys = master_keys(config).map(Arc::new);
    Ok(Resources { store, clock, client, master_keys, mailer: mailer(config)?.map(Arc::new) })
}

/// The rules of delivery, from the settings.
pub fn delivery_settings(config: &Config) -> Settings {
    let (delivery, envelope) = (&config.delivery, &config.envelope);
    Settings {
        defaults: Defaults {
            format: delivery.format,
            ordering: delivery.ordering,
            on_failure: delivery.on_failure,
            rate_limit: delivery.rate_limit,
            schedule: delivery.retry.clone(),
            success: delivery.success,
            timeout: delivery.timeout,
        },
        health: HealthPolicy { deactivation: delivery.deactivation, breaker: delivery.breaker },
        deduplicate: config.deduplicate,
        delivers: config.role != NodeRole::Api,
        lease: delivery.lease,
        in_flight: delivery.max_in_flight,
        in_flight_per_subscription: delivery.max_in_flight_per_subscription,
        in_flight_per_host: delivery.max_in_flight_per_host,
        recovery_rate: delivery.recovery_rate.into(),
        quota: quota(&config.limits),
        bytes: BODIES_IN_MEMORY,
        retention: config.retention.age,
        formatter: Formatter::new(&envelope.creator, &envelope.source, &envelope.description),
        operators: config.notices.operators.iter().cloned().collect(),
    }
}

/// What accounts may have that have no quota of their own.
pub fn quota(limits: &config::Limits) -> Quota {
    Quota { subscriptions: Some(limits.subscriptions_per_account), events_per_day: Some(limits.events_per_day) }
}

/// How long a server waits for the one before it to let go of the store.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How many events of an outbox are published at once.
const OUTBOX_BATCH: usize = 100;

/// How long it takes until one that is set up wrongly is tried again.
const OUTBOX_PAUSE: Duration = Duration::from_secs(30);

async fn lock(location: &SqliteLocation) -> anyhow::Result<ServerLock> {
    let begun = tokio::time::Instant::now();
    loop {
        match ServerLock::take(location) {
            Ok(lock) => return Ok(lock),
            Err(StoreError::Conflict) if begun.elapsed() < LOCK_PATIENCE => tokio::time::sleep(LOCK_PAUSE).await,
            Err(StoreError::Conflict) => anyhow::bail!(
                "another server has {}: stop it first, or give this one a store of its own",
                location.path().display()
            ),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What this process is to its store as a server: the only one of an embedded store, which the lock guarantees, or one among others.
async fn server_role(config: &Config) -> anyhow::Result<(Role, Option<ServerLock>)> {
    match location(config)? {
        Location::Sqlite(location) => Ok((Role::OnlyServer, Some(lock(&location).await?))),
        Location::Postgres(_) | Location::Redis(_) => Ok((Role::Server, None)),
    }
}

/// Makes what the dead server of an embedded store held due again. Where a server lives, nothing happens: what it holds is its
/// own. In a store of many servers leases alone tell the dead from the living.
///
/// # Errors
/// The store's own.
pub async fn take_over_dead_servers(config: &Config, store: &Arc<dyn Store>) -> anyhow::Result<()> {
    let Location::Sqlite(location) = location(config)? else { return Ok(()) };
    let _lock = match ServerLock::take(&location) {
        Ok(lock) => lock,
        Err(StoreError::Conflict) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    end_dead_servers(config, store).await
}

/// Ends the leases of an embedded store's dead servers. Whoever calls it has the store's lock.
async fn end_dead_servers(config: &Config, store: &Arc<dyn Store>) -> anyhow::Result<()> {
    if let Location::Sqlite(_) = location(config)? {
        let now = SystemClock.now();
        let holder = store.join(Role::OnlyServer, None, config.delivery.lease, now).await?;
        store.leave(holder, now).await?;
    }
    Ok(())
}

/// The tokens of those who ask.
fn tokens(config: &Config) -> anyhow::Result<Tokens> {
    let tokens = Tokens::find_or_generate(config)?;
    if TokenHash::of(&tokens.registration) == TokenHash::of(&tokens.trigger) {
        tracing::warn!(
            "registration.token and trigger.token are the same: whoever may trigger events may register accounts"
        );
    }
    Ok(tokens)
}

/// Runs the server until a signal ends it. `started` is called once it listens.
///
/// # Errors
/// Whatever keeps it from starting, or from ending well.
pub async fn serve(config: Config, started: impl FnOnce(std::net::SocketAddr, Option<&Tokens>)) -> anyhow::Result<()> {
    raise_file_limit();
    anyhow::ensure!(
        config.role == NodeRole::All || location(&config)?.kind() != StoreKind::Sqlite,
        "an embedded store has one server, which does everything: set `role` to `all`, or database.url to a database server"
    );
    let (role, _lock) = server_role(&config).await?;
    let store = open_whole_store(&config).await?;
    let tokens = if config.role == NodeRole::Delivery { None } else { Some(tokens(&config)?) };
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let resources = resources(&config, Arc::clone(&store))?;
    let mut service = Service::start(&resources, delivery_settings(&config), role).await?;

    let is_stopping = Arc::new(AtomicBool::new(false));
    let router = match &tokens {
        Some(tokens) => {
            let is_stopping = Arc::clone(&is_stopping);
            api::router(ApiState::new(&config, tokens, &resources, &service, is_stopping))
        }
        None => api::health_router(Health { store: Arc::clone(&store), is_stopping: Arc::clone(&is_stopping) }),
    };
    let here = tokens.as_ref().map(|tokens| Here { router: router.clone(), token: tokens.trigger.clone() });
    let (grace, connections) = (config.shutdown.grace, config.limits.connections);
    let (stop, mut stopping) = watch::channel(());
    let stopped = async move { drop(stopping.changed().await) };
    let address = listener.local_addr()?;
    let serving = tokio::spawn(server::run(listener, router, connections, stopped, grace));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    started(address, tokens.as_ref());

    let mut is_broken = false;
    tokio::select! {
        () = publish_outbox(&config, here) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = service.broken() => is_broken = true,
    }
    tracing::info!("stopping");
    is_stopping.store(true, Ordering::Release);
    stop.send_replace(());
    let end = async {
        // Requests and deliveries have the same grace. Events that come meanwhile are stored, and wait for the next start.
        let _ = tokio::join!(serving, service.drain(grace));
        service.stop().await
    };
    let result = tokio::select! {
        result = end => result,
        _ = terminate.recv() => Err(StoreError::Unavailable("a second signal ended it at once".into())),
        _ = interrupt.recv() => Err(StoreError::Unavailable("a second signal ended it at once".into())),
    };
    store.close().await;
    result.context("the server did not end well; nothing is lost, and deliveries may be repeated")?;
    anyhow::ensure!(!is_broken, "a part of the server ended unexpectedly; see the log");
    tracing::info!("stopped");
    Ok(())
}

/// Publishes the outbox that is configured, if one is, through this node's own API. The rest of the node goes on whatever is wrong with it.
async fn publish_outbox(config: &Config, here: Option<Here>) {
    let (Some(from), Some(here)) = (&config.outbox.from, here) else { return std::future::pending().await };
    let settings = outbox::Settings {
        from: from.expose().to_owned(),
        name: config.outbox.name.clone(),
        ca_file: config.database.ca_file.clone(),
        limit: config.limits.batch_events.min(OUTBOX_BATCH),
    };
    loop {
        let told = |count| tracing::debug!("{count} events of the outbox published");
        let error = outbox::publish(&settings, &here, told).await;
        tracing::error!(%error, "the outbox cannot be published; it is tried again");
        tokio::time::sleep(OUTBOX_PAUSE).await;
    }
}

/// Every connection is a file: takes as many as the system lets this process have.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
