//! Three organizations in one database.

use std::time::Duration;

use tenantry::audit::{AuditSink, MemorySink};
use tenantry::clock::ManualClock;
use tenantry::crypto::KeyRing;
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer, TicketKey};
use tenantry::{Database, OrganizationId, TenantScope};
use time::OffsetDateTime;
use uuid::Uuid;

use super::cell::Row;
use super::tables::{Fix as _, GENRES, Genre, Tab, schema, with_owned};

/// What every text of organization B carries.
pub const MARK: &str = "B-MARK";

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    A,
    /// Holds what A holds, with every text marked.
    B,
    /// Holds exactly what A holds.
    C,
}

impl Who {
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// B's key sorts before A's, C's after it, so that A's rows lie between foreign ones.
    pub fn organization(self) -> OrganizationId {
        let byte = match self {
            Self::B => 0x11,
            Self::A => 0x77,
            Self::C => 0xEE,
        };
        OrganizationId::from_uuid(Uuid::from_bytes([byte; 16])).unwrap()
    }

    pub fn principal(self) -> Principal {
        Principal::user(match self {
            Self::A => "ann",
            Self::B => "bob",
            Self::C => "cleo",
        })
    }
}

/// One empty database with everything around it.
pub struct World {
    pub db: Database,
    pub issuer: ScopeIssuer,
    pub sink: MemorySink,
    pub tickets: TicketKey,
    pub scopes: [TenantScope; 3],
}

/// The stores that programs run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    #[cfg(feature = "postgres")]
    Postgres,
    Sqlite,
}

/// Where a world lives.
#[derive(Debug, Clone, Copy)]
pub enum Place<'p> {
    Memory,
    File {
        path: &'p std::path::Path,
        paranoid: bool,
    },
    #[cfg(feature = "postgres")]
    Server(&'p super::server::Server),
}

impl Place<'_> {
    pub const fn store(self) -> Store {
        match self {
            Self::Memory | Self::File { .. } => Store::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Server(_) => Store::Postgres,
        }
    }
}

/// Who lets the three organizations in, at a time that stands still.
pub fn issuer(sink: impl AuditSink) -> ScopeIssuer {
    let directory = MemoryDirectory::new();
    for who in Who::ALL {
        directory.add_member(&who.organization(), &who.principal(), Role::Member);
    }
    ScopeIssuer::builder(directory)
        .clock(ManualClock::new(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)))
        .audit(sink)
        .build()
}

pub async fn add_genres(db: &Database) {
    let authority =
        tenantry::ambient::cross_tenant_authority("reference data", Principal::job("fixture"));
    let genres = GENRES.map(|(id, name)| Genre { id, name: name.into() });
    Genre::insert_many_global(&authority, genres).execute(db).await.unwrap();
}

pub async fn world(place: Place<'_>) -> World {
    let sink = MemorySink::with_capacity(100_000);
    let (db, issuer) = match place {
        Place::Memory => embedded("sqlite::memory:", false, &sink).await,
        Place::File { path, paranoid } => {
            embedded(&format!("sqlite://{}", path.display()), paranoid, &sink).await
        }
        #[cfg(feature = "postgres")]
        Place::Server(server) => server.emptied(&sink).await,
    };
    let mut scopes = Vec::new();
    for who in Who::ALL {
        scopes.push(issuer.enter(&who.principal(), who.organization()).await.unwrap());
    }
    World {
        db,
        issuer,
        sink,
        tickets: TicketKey::new("oracle", KeyRing::random().unwrap()).unwrap(),
        scopes: scopes.try_into().unwrap(),
    }
}

/// A new SQLite database.
async fn embedded(url: &str, paranoid: bool, sink: &MemorySink) -> (Database, ScopeIssuer) {
    let issuer = issuer(sink.clone());
    let db = Database::builder()
        .issuer(&issuer)
        .allow_cross_tenant()
        .cursor_keys(KeyRing::random().unwrap())
        .page_cache_kib(512)
        .paranoid(paranoid)
        .connect(url, schema())
        .await
        .unwrap();
    db.create_tables().await.unwrap();
    add_genres(&db).await;
    (db, issuer)
}

/// A scope without a database, for rendering.
pub async fn lone_scope() -> TenantScope {
    let directory = MemoryDirectory::new();
    directory.add_member(&Who::A.organization(), &Who::A.principal(), Role::Member);
    ScopeIssuer::new(directory).enter(&Who::A.principal(), Who::A.organization()).await.unwrap()
}

impl World {
    /// Ends the world; a server goes on to the next one.
    pub async fn end(self, place: Place<'_>) {
        match place {
            Place::Memory | Place::File { .. } => self.db.close().await,
            #[cfg(feature = "postgres")]
            Place::Server(_) => {}
        }
    }

    pub fn scope(&self, who: Who) -> &TenantScope {
        &self.scopes[who as usize]
    }

    pub async fn enter(&mut self, who: Who) {
        self.scopes[who as usize] =
            self.issuer.enter(&who.principal(), who.organization()).await.unwrap();
    }

    /// Every row of every organization but A.
    pub async fn others(&self) -> Vec<(Tab, OrganizationId, Row)> {
        let authority =
            tenantry::ambient::cross_tenant_authority("dump", Principal::job("fixture"));
        let ours = Who::A.organization();
        let mut dump = Vec::new();
        for tab in Tab::OWNED {
            with_owned!(tab, T => {
                let rows = T::select_across(&authority).fetch_all(&self.db).await.unwrap();
                let foreign = rows.into_iter().filter(|(organization, _)| *organization != ours);
                dump.extend(foreign.map(|(organization, row)| (tab, organization, row.row())));
            });
        }
        dump
    }
}
