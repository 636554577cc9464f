//! Operations as statements of the crate.
//!
//! Columns are named by position (`Column::new`), which gives the same trees as the constants of a
//! declaration; joins, their projections and prepared shapes use the constants themselves.

mod filters;
mod prepared;
mod reads;
mod refused;
mod writes;

use std::cell::RefCell;

use tenantry::query::{Cursor, Find};
use tenantry::{Database, Result, TenantScope};

pub use filters::{filter, order};

use super::model::Seen;
use super::program::{End, From, Read, Stmt};
use super::tables::{Fix as _, with_owned, with_table};

/// Where a statement runs.
#[derive(Debug)]
pub enum Ex<'e> {
    Db(&'e Database),
    Tx(&'e mut tenantry::database::Transaction),
}

impl Ex<'_> {
    fn again(&mut self) -> Ex<'_> {
        match self {
            Self::Db(db) => Ex::Db(db),
            Self::Tx(tx) => Ex::Tx(tx),
        }
    }
}

macro_rules! on {
    ($ex:expr, |$e:ident| $run:expr) => {
        match $ex {
            $crate::oracle::lower::Ex::Db($e) => $run,
            $crate::oracle::lower::Ex::Tx($e) => $run,
        }
    };
}
use on;

/// In whose name, and the scope of another organization for what must be refused.
pub struct Cx<'s> {
    pub db: &'s Database,
    pub scope: &'s TenantScope,
    pub other: &'s TenantScope,
    /// The cursor after the page that was read last.
    pub next: RefCell<Option<Cursor>>,
}

/// How a read ends: as the program says, or with one page.
#[derive(Debug, Clone)]
pub enum Way<'p> {
    End(&'p End),
    Page(Option<Cursor>, u32),
}

pub async fn read(cx: &Cx<'_>, read: &Read, way: Way<'_>, ex: Ex<'_>) -> Result<Seen> {
    match read.from {
        From::One(tab) => {
            with_table!(tab, T => Box::pin(reads::read_one::<T>(cx, read, way, ex)).await)
        }
        From::Join(shape) => Box::pin(reads::read_joined(cx, shape, read, way, ex)).await,
    }
}

pub async fn run(cx: &Cx<'_>, stmt: &Stmt, ex: Ex<'_>) -> Result<Seen> {
    match stmt {
        Stmt::Find { tab, key, one, for_update } => with_table!(*tab, T => {
            let find = Find::<T>::new(cx.scope, T::key(key));
            let find = if *for_update { find.for_update() } else { find };
            if *one {
                Ok(reads::pick(Some(on!(ex, |e| find.fetch_one(e).await)?.row())))
            } else {
                Ok(reads::pick(on!(ex, |e| find.fetch_optional(e).await)?.map(|row| row.row())))
            }
        }),
        Stmt::Read(read_, end) => read(cx, read_, Way::End(end), ex).await,
        Stmt::Insert { tab, .. } => {
            with_owned!(*tab, T => Box::pin(writes::insert::<T>(cx, stmt, ex)).await)
        }
        Stmt::Update { tab, .. } => {
            with_owned!(*tab, T => Box::pin(writes::update::<T>(cx, stmt, ex)).await)
        }
        Stmt::Delete { tab, .. } => {
            with_owned!(*tab, T => Box::pin(writes::delete::<T>(cx, stmt, ex)).await)
        }
        Stmt::Prepared(shape) => Box::pin(prepared::prepared(cx, shape, ex)).await,
        Stmt::Refused(refusal, tab) => {
            with_owned!(*tab, T => Box::pin(refused::refuse::<T>(cx, *refusal, ex)).await)
        }
    }
}
