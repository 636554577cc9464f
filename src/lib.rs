// In the pages, links lead to the pages of the manual; in the files, to the files. The first
// definition of a link counts.
#![doc = include_str!("../docs/links.md")]
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    allow(
        dead_code,
        unused_imports,
        reason = "without a store statements are built and never run"
    )
)]

pub mod ambient;
pub mod audit;
pub mod clock;
pub mod credential;
pub mod crypto;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod database;
pub mod error;
pub mod id;
pub mod query;
pub mod scope;
pub mod table;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod tenancy;

pub use clock::now;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use database::Database;
pub use error::{Error, ErrorKind, Result};
pub use id::OrganizationId;
pub use scope::TenantScope;

/// The manual: the chapters of `docs/`, with examples that run.
#[cfg(any(doc, doctest))]
pub mod manual {
    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/benchmarks.md")]
    pub mod benchmarks {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../CHANGELOG.md")]
    pub mod changelog {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/compile-errors.md")]
    pub mod compile_errors {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/credential-files.md")]
    pub mod credential_files {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/credentials.md")]
    pub mod credentials {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/doctor.md")]
    pub mod doctor {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/jobs.md")]
    pub mod jobs {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/key-providers.md")]
    pub mod key_providers {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/leaks.md")]
    pub mod leaks {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/organizations.md")]
    pub mod organizations {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/postgres.md")]
    pub mod postgres {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/queries.md")]
    pub mod queries {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/scaling.md")]
    pub mod scaling {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/SECURITY.md")]
    pub mod security {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/sqlite.md")]
    pub mod sqlite {}

    #[doc = include_str!("../docs/links.md")]
    #[doc = include_str!("../docs/threat-model.md")]
    pub mod threat_model {}
}
