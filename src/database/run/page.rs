//! Pages and their cursors.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::read::require_transaction;
use super::{Actor, Executor, Run};
use crate::crypto::KeyRing;
use crate::error::{Error, ErrorKind, Result};
use crate::query::{
    ColumnRef, Cursor, OrderKey, OrderTerm, Output, Page, Paged, Predicate, Reach, Renderer,
    SelectAst, Sources, add_filter, order_terms,
};
use crate::scope::TenantScope;
use crate::table::{ColumnDefinition, ColumnType, TableDefinition, Value};

/// What a page cursor is sealed for.
const CURSOR: &str = "tenantry/cursor/1";

impl<S: Sources> Paged<'_, S> {
    /// Reads the page.
    ///
    /// # Errors
    /// `Invalid` for a page of no rows, and for a cursor that was edited, or made for another
    /// organization or query; `Unconfigured` for a file database without cursor keys; otherwise as
    /// for [`Select::fetch_all`](crate::query::Select::fetch_all).
    pub async fn fetch<'e>(self, executor: impl Executor<'e>) -> Result<Page<S>> {
        let mut run = executor.lower();
        let (scope, mut ast) = (self.select.scope, self.select.ast);
        let wanted = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let bounds = Bounds::of(&run, scope, &mut ast, self.cursor.as_ref(), self.rows);
        let Bounds { keys, columns, bound_to } = bounds.map_err(|error| run.refused(error))?;
        let mut last = Vec::new();
        let mut read = 0;
        let mut rows = run
            .read_all(
                Actor::Scope(scope),
                ast.base,
                |context| context.renderer(Reach::Scope(scope)).select(&ast, Output::Rows),
                |row| {
                    let value = S::read(row)?;
                    read += 1;
                    if read == wanted {
                        last = columns
                            .iter()
                            .map(|of| row.cell(of.at, of.column))
                            .collect::<Result<_>>()?;
                    }
                    Ok(value)
                },
            )
            .await?;
        let next = if rows.len() > wanted {
            rows.truncate(wanted);
            Some(seal_cursor(&keys, &bound_to, &last)?)
        } else {
            None
        };
        Ok(Page { rows, next })
    }
}

/// A column of the order, and its place in the row.
struct PageColumn {
    reference: ColumnRef,
    column: &'static ColumnDefinition,
    descending: bool,
    at: usize,
}

/// Where a page begins, and what its cursor is bound to.
struct Bounds {
    keys: KeyRing,
    columns: Vec<PageColumn>,
    bound_to: Vec<u8>,
}

impl Bounds {
    /// Adds the boundary and the limit to the read.
    fn of(
        run: &Run<'_>,
        scope: &TenantScope,
        ast: &mut SelectAst,
        cursor: Option<&Cursor>,
        rows: u32,
    ) -> Result<Self> {
        require_transaction(run, ast.for_update)?;
        if rows == 0 {
            return Err(Error::invalid("a page has at least one row"));
        }
        if ast.unordered || ast.limit.is_some() || ast.offset.is_some() {
            return Err(Error::misuse("a page has its own order and limit"));
        }
        // A refused scope learns nothing of its cursor.
        run.database().admit(scope)?;
        let keys = run.database().cursor_keys()?.clone();
        let terms = order_terms(ast, None)?;
        let columns = page_columns(ast, &terms)?;
        let schema = run.database().schema();
        let shape = Renderer::new(
            run.database().store().dialect(),
            schema,
            Reach::Scope(scope),
            "",
            Vec::new(),
        )
        .select(ast, Output::Rows)?;
        let mut bound_to = scope.organization().encoded().into_bytes();
        bound_to.push(0);
        bound_to.extend_from_slice(shape.sql.as_str().as_bytes());
        if let Some(cursor) = cursor {
            let values = open_cursor(&keys, &bound_to, cursor, &columns)?;
            let boundary =
                columns.iter().zip(values).map(|(of, value)| (of.reference, of.descending, value));
            add_filter(&mut ast.filter, Predicate::After(boundary.collect()));
        }
        ast.limit = Some(u64::from(rows) + 1);
        Ok(Self { keys, columns, bound_to })
    }
}

fn page_columns(ast: &SelectAst, terms: &[OrderTerm]) -> Result<Vec<PageColumn>> {
    let tables: Vec<_> = ast.tables().collect();
    terms
        .iter()
        .map(|term| {
            let OrderKey::Column(column) = term.key else {
                return Err(Error::misuse("a page is not ordered by an aggregate"));
            };
            let occurrence = match column.occurrence {
                Some(index) => usize::from(index),
                None => tables.iter().position(|table| table.same(column.table)).unwrap_or(0),
            };
            let before: usize = tables.iter().take(occurrence).map(|table| width(table)).sum();
            let at = before
                + usize::from(column.table.tenant_column().is_some())
                + usize::from(column.position);
            let Some(definition) = column.definition() else {
                return Err(Error::misuse("a column is not of its table"));
            };
            let reference = ColumnRef { occurrence: u8::try_from(occurrence).ok(), ..column };
            Ok(PageColumn { reference, column: definition, descending: term.descending, at })
        })
        .collect()
}

fn width(table: &TableDefinition) -> usize {
    table.columns().len() + usize::from(table.tenant_column().is_some())
}

#[derive(serde::Serialize, serde::Deserialize)]
enum CursorValue {
    Null,
    Integer(i64),
    Real(u64),
    Text(String),
    Blob(Vec<u8>),
}

fn seal_cursor(keys: &KeyRing, bound_to: &[u8], values: &[Value]) -> Result<Cursor> {
    let values: Vec<CursorValue> = values
        .iter()
        .map(|value| match value {
            Value::Bool(value) => CursorValue::Integer(i64::from(*value)),
            Value::Date(value) => CursorValue::Integer(i64::from(*value)),
            Value::Decimal(value, _) | Value::I64(value) | Value::Timestamp(value) => {
                CursorValue::Integer(*value)
            }
            Value::F64(value) => CursorValue::Real(value.to_bits()),
            Value::Json(value) | Value::Text(value) => CursorValue::Text(value.to_string()),
            Value::Bytes(value) => CursorValue::Blob(value.clone()),
            Value::Sealed(sealed) => CursorValue::Blob(sealed.0.clone()),
            Value::Uuid(value) => CursorValue::Blob(value.as_bytes().to_vec()),
            _ => CursorValue::Null,
        })
        .collect();
    let text =
        serde_json::to_vec(&values).map_err(|_| Error::internal("a cursor has no text form"))?;
    let sealed = keys.seal(CURSOR, bound_to, &text).map_err(|error| match error.kind() {
        ErrorKind::Invalid => Error::invalid("the order columns of a page hold more than 64 KiB"),
        _ => error,
    })?;
    Ok(Cursor(URL_SAFE_NO_PAD.encode(sealed)))
}

fn open_cursor(
    keys: &KeyRing,
    bound_to: &[u8],
    cursor: &Cursor,
    columns: &[PageColumn],
) -> Result<Vec<Value>> {
    URL_SAFE_NO_PAD
        .decode(&cursor.0)
        .ok()
        .and_then(|sealed| keys.open(CURSOR, bound_to, &sealed).ok())
        .and_then(|text| serde_json::from_slice::<Vec<CursorValue>>(&text).ok())
        .filter(|values| values.len() == columns.len())
        .and_then(|values| {
            values.into_iter().zip(columns).map(|(value, of)| value.of(of.column)).collect()
        })
        .ok_or_else(|| Error::invalid("the cursor does not belong to this page"))
}

impl CursorValue {
    /// The value as its column is bound.
    fn of(self, column: &ColumnDefinition) -> Option<Value> {
        Some(match (self, column.kind()) {
            (Self::Null, _) => Value::Null,
            (Self::Integer(value), kind) => match kind {
                ColumnType::Bool => Value::Bool(value != 0),
                ColumnType::Date => Value::Date(i32::try_from(value).ok()?),
                ColumnType::Decimal => Value::Decimal(value, column.decimals()),
                ColumnType::Timestamp => Value::Timestamp(value),
                _ => Value::I64(value),
            },
            (Self::Real(bits), _) => Value::F64(f64::from_bits(bits)),
            (Self::Text(text), _) => Value::Text(text.into()),
            (Self::Blob(bytes), ColumnType::Uuid) => Value::Uuid(Uuid::from_slice(&bytes).ok()?),
            (Self::Blob(bytes), _) => Value::Bytes(bytes),
        })
    }
}
