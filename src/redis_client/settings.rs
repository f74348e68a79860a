//! Where Redis is and how to log in, as configured.

use std::fmt;

use secrecy::SecretString;

/// Everything needed to connect. Neither password nor certificates are ever printed.
#[derive(Clone)]
pub struct RedisSettings {
    pub place: RedisPlace,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// Certificate authorities trusted in place of the system's, PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// The three ways to run Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    Standalone {
        address: RedisAddress,
        database: u32,
    },
    /// Some nodes of a cluster; the others are discovered from them.
    Cluster {
        nodes: Vec<RedisAddress>,
    },
    /// Sentinels, which know where the primary is.
    Sentinel {
        service: String,
        nodes: Vec<RedisAddress>,
    },
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub host: String,
    pub port: u16,
    pub is_tls: bool,
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl RedisSettings {
    /// The name of the deployment mode.
    pub fn mode(&self) -> &'static str {
        match self.place {
            RedisPlace::Standalone { .. } => "standalone",
            RedisPlace::Cluster { .. } => "cluster",
            RedisPlace::Sentinel { .. } => "sentinel",
        }
    }

    /// The configured addresses, for people to read.
    pub fn addresses(&self) -> String {
        match &self.place {
            RedisPlace::Standalone { address, .. } => address.to_string(),
            RedisPlace::Cluster { nodes } | RedisPlace::Sentinel { nodes, .. } => {
                nodes.iter().map(RedisAddress::to_string).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("place", &self.place)
            .field("has_username", &self.username.is_some())
            .field("has_password", &self.password.is_some())
            .field("has_ca", &self.ca_pem.is_some())
            .finish()
    }
}
