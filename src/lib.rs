//! Cross-tenant data leaks made unrepresentable.
#![cfg_attr(
    not(feature = "sqlite"),
    allow(
        dead_code,
        unused_imports,
        reason = "without a store statements are built and never run"
    )
)]

pub mod ambient;
pub mod audit;
pub mod clock;
pub mod crypto;
#[cfg(feature = "sqlite")]
pub mod database;
pub mod error;
pub mod id;
pub mod query;
pub mod scope;
pub mod table;

pub use clock::now;
#[cfg(feature = "sqlite")]
pub use database::Database;
pub use error::{Error, ErrorKind, Result};
pub use id::OrganizationId;
pub use scope::TenantScope;
