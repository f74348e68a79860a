//! Makes and checks a connection: to one server, to the primary that sentinels name, or to a cluster.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rand::seq::SliceRandom;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr,
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisFuture, TlsCertificates, Value, cmd,
};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::ATTEMPT_MAX;
use super::check::{self, RedisServer, RedisStartError, Trouble};
use super::settings::{RedisAddress, RedisPlace, RedisSettings};

/// Longest time to connect, including TLS, and again to get the answers to the first commands.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// The same for one of several nodes; shorter, so that a dead node leaves time for the others.
const NODE_CONNECT_MAX: Duration = Duration::from_millis(500);

/// Longest time for all of it.
pub(super) const ALL_MAX: Duration = Duration::from_secs(3);

/// Most redirections that a cluster connection follows.
const REDIRECTIONS_MAX: u32 = 3;

/// A connection that all calls share; a clone is the same connection.
#[derive(Clone)]
pub(super) enum Link {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
    /// Sends everything to the node that owns a slot.
    Owner(ClusterConnection, Slot),
}

impl Link {
    /// The link for a command without a key of its own. A cluster connection would load a script on all nodes,
    /// and fail if one of them is away.
    pub(super) fn to_owner_of(&self, keys: &[String]) -> Link {
        match (self, keys.first()) {
            (Link::Cluster(connection), Some(key)) => Link::Owner(connection.clone(), Slot::for_key(key)),
            _ => self.clone(),
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Link::Single(connection) => connection.req_packed_command(cmd),
            Link::Cluster(connection) => connection.req_packed_command(cmd),
            Link::Owner(connection, slot) => {
                let owner = SingleNodeRoutingInfo::SpecificNode(Route::with_slot(*slot, SlotAddr::Master));
                connection.route_command(cmd.clone(), RoutingInfo::SingleNode(owner)).boxed()
            }
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Link::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Link::Cluster(connection) | Link::Owner(connection, _) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Link::Single(connection) => connection.get_db(),
            Link::Cluster(connection) | Link::Owner(connection, _) => connection.get_db(),
        }
    }
}

/// Connects and checks, within [`ALL_MAX`]; also returns what the servers report about themselves.
pub(super) async fn connect(settings: &RedisSettings) -> Result<(Link, Vec<RedisServer>), Trouble> {
    let work: BoxFuture<'_, _> = match &settings.place {
        RedisPlace::Standalone { address, database } => standalone(settings, address, *database).boxed(),
        RedisPlace::Cluster { nodes } => cluster(settings, nodes).boxed(),
        RedisPlace::Sentinel { service, nodes } => sentinel(settings, service, nodes).boxed(),
    };
    let late = |_| Trouble::Away(format!("{} did not answer in time", settings.addresses()));
    timeout(ALL_MAX, work).await.map_err(late)?
}

async fn standalone(
    settings: &RedisSettings,
    address: &RedisAddress,
    database: u32,
) -> Result<(Link, Vec<RedisServer>), Trouble> {
    let (connection, server) = primary(settings, address, database, CONNECT_MAX).await?;
    Ok((Link::Single(connection), vec![server]))
}

/// Connects to a server and checks that it reports the role it is needed for.
async fn primary(
    settings: &RedisSettings,
    address: &RedisAddress,
    database: u32,
    within: Duration,
) -> Result<(MultiplexedConnection, RedisServer), Trouble> {
    let mut connection = open(settings, address, within).await?;
    let work = async {
        log_in(&mut connection, settings, address).await?;
        if database != 0 {
            let selected = ask(&mut connection, cmd("SELECT").arg(database), address).await;
            selected.map_err(|trouble| no_database(trouble, address, database))?;
        }
        let info = ask(&mut connection, &cmd("INFO"), address).await?;
        let server = check::judge(&text(info), &settings.place, &address.to_string())?;
        try_permissions(&mut connection, address).await?;
        Ok(server)
    };
    let server = timeout(within, work).await.map_err(|_| late(address))??;
    Ok((connection, server))
}

/// Does what scripts do, on keys of its own: a user whose ACL is too narrow would be noticed only by failing steps.
const PERMISSIONS: &str = "redis.call('TIME') redis.call('HSET', KEYS[1], 'a', '1') redis.call('ZADD', KEYS[2], 1, 'a') \
                           redis.call('PEXPIRE', KEYS[1], 1000) return redis.call('DEL', KEYS[1], KEYS[2])";

async fn try_permissions(
    connection: &mut MultiplexedConnection,
    address: &RedisAddress,
) -> Result<(), Trouble> {
    let keys = ["tollgate:1:{permissions}:hash", "tollgate:1:{permissions}:set"];
    match ask(connection, cmd("EVAL").arg(PERMISSIONS).arg(keys.len()).arg(&keys), address).await {
        Err(narrow @ Trouble::Wrong(RedisStartError::NotPermitted { .. })) => Err(narrow),
        // No matter of permissions: a full memory, or a slot of another node.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn late(address: &RedisAddress) -> Trouble {
    // A server without TLS waits for the rest of what it takes for a command.
    let perhaps = if address.is_tls { ", or speaks no TLS (then write redis://)" } else { "" };
    Trouble::Away(format!("{address} did not answer in time{perhaps}"))
}

/// Redis says `ERR DB index is out of range`; a cluster or an ACL has its own words.
fn no_database(trouble: Trouble, address: &RedisAddress, database: u32) -> Trouble {
    match trouble {
        Trouble::Away(why) if why.contains("ERR") && !why.contains("max number of clients") => {
            Trouble::Wrong(RedisStartError::Database { address: address.to_string(), database })
        }
        other => other,
    }
}

/// A connection that is not logged in yet.
async fn open(
    settings: &RedisSettings,
    address: &RedisAddress,
    within: Duration,
) -> Result<MultiplexedConnection, Trouble> {
    let info = connection_info(address, RedisConnectionInfo::default().set_skip_set_lib_name())?;
    let client = match certificates(settings) {
        Some(certificates) if address.is_tls => Client::build_with_tls(info, certificates),
        _ => Client::open(info),
    };
    let client = client.map_err(|error| unusable(&error))?;
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    timeout(within, connection).await.map_err(|_| late(address))?.map_err(|error| trouble(&error, address))
}

pub(super) fn connection_info(
    address: &RedisAddress,
    redis: RedisConnectionInfo,
) -> Result<ConnectionInfo, Trouble> {
    let (host, port) = (address.host.clone(), address.port);
    let place = match address.is_tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    let info = place.into_connection_info().map_err(|error| unusable(&error))?;
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
}

pub(super) fn certificates(settings: &RedisSettings) -> Option<TlsCertificates> {
    let root_cert = settings.ca_pem.clone()?;
    Some(TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
}

/// Logs in. Not left to the crate, which hides why a server refuses.
async fn log_in(
    connection: &mut MultiplexedConnection,
    settings: &RedisSettings,
    address: &RedisAddress,
) -> Result<(), Trouble> {
    let Some(password) = &settings.password else { return Ok(()) };
    let mut auth = cmd("AUTH");
    if let Some(username) = &settings.username {
        auth.arg(username);
    }
    auth.arg(password.expose_secret());
    // A server that does not know AUTH echoes its arguments.
    let told = |trouble| match trouble {
        Trouble::Away(why) if why.contains(password.expose_secret()) => {
            Trouble::Wrong(RedisStartError::Credentials { address: address.to_string() })
        }
        other => other,
    };
    ask(connection, &auth, address).await.map(drop).map_err(told)
}

async fn ask(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    address: &RedisAddress,
) -> Result<Value, Trouble> {
    let reply = connection.req_packed_command(command).await.and_then(Value::extract_error);
    reply.map_err(|error| trouble(&error, address))
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    }
}

/// What a failure during the first contact means.
pub(super) fn trouble(error: &RedisError, address: &RedisAddress) -> Trouble {
    let why = super::fault::shortened(&error.to_string());
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => {
            check::refused(error.code().unwrap_or("ERR"), error.detail().unwrap_or_default(), address)
        }
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            Trouble::Wrong(RedisStartError::NotRedis { address: address.to_string(), is_tls: address.is_tls })
        }
        ErrorKind::Io if address.is_tls && is_tls_failure(&why) => {
            Trouble::Wrong(RedisStartError::Tls { address: address.to_string(), why })
        }
        // A server that only speaks TLS hangs up too.
        ErrorKind::Io if !address.is_tls && hung_up(error) => {
            Trouble::Away(format!("{address} hung up ({why}); perhaps it wants TLS (then write rediss://)"))
        }
        ErrorKind::Io => Trouble::Away(format!("{address}: {why}")),
        _ => unusable(error),
    }
}

fn hung_up(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

/// The crate wraps rustls's errors as the text of I/O errors.
fn is_tls_failure(why: &str) -> bool {
    ["certificate", "received corrupt message", "received fatal alert", "peer ", "Unable to parse"]
        .iter()
        .any(|sign| why.contains(sign))
}

fn unusable(error: &RedisError) -> Trouble {
    Trouble::Wrong(RedisStartError::Unusable(super::fault::shortened(&error.to_string())))
}

/// Asks the sentinels in random order until one names a server that itself reports to be the primary.
async fn sentinel(
    settings: &RedisSettings,
    service: &str,
    nodes: &[RedisAddress],
) -> Result<(Link, Vec<RedisServer>), Trouble> {
    let mut nodes: Vec<&RedisAddress> = nodes.iter().collect();
    nodes.shuffle(&mut rand::rng());
    let mut last = None;
    for node in nodes {
        let address = match look_up(settings, service, node).await {
            Ok(address) => address,
            Err(trouble) => {
                last = Some(weightier(last, trouble));
                continue;
            }
        };
        match primary(settings, &address, 0, NODE_CONNECT_MAX).await {
            Ok((connection, server)) => return Ok((Link::Single(connection), vec![server])),
            Err(trouble @ Trouble::Wrong(_)) => return Err(trouble),
            Err(trouble) => last = Some(trouble),
        }
    }
    Err(last.unwrap_or_else(|| Trouble::Away("there is no node to ask".to_owned())))
}

/// Where one sentinel believes the primary to be.
pub(super) async fn look_up(
    settings: &RedisSettings,
    service: &str,
    node: &RedisAddress,
) -> Result<RedisAddress, Trouble> {
    let mut connection = open(settings, node, NODE_CONNECT_MAX).await?;
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let work = async {
        let reply = match ask(&mut connection, &question, node).await {
            // Most sentinels require no password, and refuse one that they don't require.
            Err(Trouble::Wrong(RedisStartError::NoPassword { .. })) if settings.password.is_some() => {
                log_in(&mut connection, settings, node).await?;
                ask(&mut connection, &question, node).await
            }
            other => other,
        };
        reply.map_err(|trouble| match trouble {
            Trouble::Away(why) if why.contains("unknown command") => {
                Trouble::Wrong(RedisStartError::IsNoSentinel { address: node.to_string() })
            }
            other => other,
        })
    };
    let reply = timeout(NODE_CONNECT_MAX, work).await.map_err(|_| late(node))??;
    let (host, port) = redis::from_redis_value::<Option<(String, u16)>>(reply)
        .ok()
        .flatten()
        .ok_or_else(|| no_service(service, node))?;
    Ok(RedisAddress { host, port, is_tls: node.is_tls })
}

fn no_service(service: &str, node: &RedisAddress) -> Trouble {
    let (address, service) = (node.to_string(), service.to_owned());
    Trouble::Wrong(RedisStartError::NoService { address, service })
}

/// Of several nodes' troubles, keeps the one to report: one that may pass by itself outweighs one that needs a change.
fn weightier(last: Option<Trouble>, next: Trouble) -> Trouble {
    match (last, next) {
        (Some(Trouble::Away(why)), Trouble::Wrong(_)) => Trouble::Away(why),
        (_, next) => next,
    }
}

/// Asks one node after another for its role; all other nodes are discovered from the first valid one.
async fn cluster(
    settings: &RedisSettings,
    nodes: &[RedisAddress],
) -> Result<(Link, Vec<RedisServer>), Trouble> {
    let mut last = None;
    for node in nodes {
        match primary(settings, node, 0, NODE_CONNECT_MAX).await {
            Ok(_) => return whole_cluster(settings, node, nodes).await,
            Err(trouble) => last = Some(weightier(last, trouble)),
        }
    }
    Err(last.unwrap_or_else(|| Trouble::Away("there is no node to ask".to_owned())))
}

async fn whole_cluster(
    settings: &RedisSettings,
    sound: &RedisAddress,
    nodes: &[RedisAddress],
) -> Result<(Link, Vec<RedisServer>), Trouble> {
    let client = cluster_client(settings, nodes)?;
    let mut connection = client.get_async_connection().await.map_err(|error| trouble(&error, sound))?;
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let replies = connection.route_command(cmd("INFO"), masters).await;
    let replies = replies.map_err(|error| trouble(&error, sound))?;
    let Value::Map(replies) = replies else {
        return Err(Trouble::Away("the cluster names no primaries".to_owned()));
    };
    let mut servers = Vec::new();
    for (address, info) in replies {
        let info = info.extract_error().map_err(|error| trouble(&error, sound))?;
        servers.push(check::judge(&text(info), &settings.place, &text(address))?);
    }
    if servers.is_empty() {
        return Err(Trouble::Away("none of the cluster's primaries can be reached".to_owned()));
    }
    servers.sort_by(|a, b| a.address.cmp(&b.address));
    Ok((Link::Cluster(connection), servers))
}

fn cluster_client(settings: &RedisSettings, nodes: &[RedisAddress]) -> Result<ClusterClient, Trouble> {
    let mut redis = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.expose_secret());
        if let Some(username) = &settings.username {
            redis = redis.set_username(username);
        }
    }
    let nodes: Vec<ConnectionInfo> =
        nodes.iter().map(|node| connection_info(node, redis.clone())).collect::<Result<_, _>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(NODE_CONNECT_MAX)
        .response_timeout(ATTEMPT_MAX)
        .overall_response_timeout(None)
        .retries(REDIRECTIONS_MAX)
        .min_retry_wait(5)
        .max_retry_wait(50)
        .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    if let Some(certificates) = certificates(settings) {
        builder = builder.certs(certificates);
    }
    builder.build().map_err(|error| unusable(&error))
}
