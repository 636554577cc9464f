//! The closed tree of a statement. There is no raw fragment in it, and nothing outside this crate
//! can build or take apart a node.

use std::fmt;

use crate::scope::TenantScope;
use crate::table::{ColumnDefinition, ReferenceDefinition, TableDefinition, Value};

/// One column of one occurrence of a table.
#[derive(Clone, Copy)]
pub struct ColumnRef {
    pub(crate) table: &'static TableDefinition,
    pub(crate) position: u16,
    pub(crate) occurrence: Option<u8>,
}

impl ColumnRef {
    pub(crate) fn definition(self) -> Option<&'static ColumnDefinition> {
        self.table.column(self.position)
    }

    pub(crate) fn encode(self, encode: impl FnOnce(&ColumnDefinition) -> Value) -> Value {
        match self.definition() {
            Some(column) => encode(column),
            None => Value::Refused("a column that its table does not declare"),
        }
    }
}

impl fmt::Debug for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.definition().map_or("?", ColumnDefinition::name);
        write!(f, "{}.{column}", self.table.name())
    }
}

/// What stands on the right of a comparison.
#[derive(Debug, Clone)]
pub enum Term {
    Value(Value),
    Column(ColumnRef),
    /// A run argument of a prepared shape.
    Slot(u16, Use),
    /// A column plus or minus a value; in `set` alone.
    Arithmetic(ColumnRef, Sign, Value),
}

/// What is done with a run argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Compared,
    Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Plus,
    Minus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Eq => " = ",
            Self::Ne => " <> ",
            Self::Lt => " < ",
            Self::Le => " <= ",
            Self::Gt => " > ",
            Self::Ge => " >= ",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    CountDistinct,
    Max,
    Min,
    Sum,
}

/// An aggregate over the scoped relation; without a column it counts rows.
#[derive(Debug, Clone, Copy)]
pub struct AggregateRef {
    pub(crate) function: Function,
    pub(crate) column: Option<ColumnRef>,
}

#[derive(Clone)]
pub enum Predicate {
    All(Vec<Predicate>),
    Any(Vec<Predicate>),
    Not(Box<Predicate>),
    Compare(ColumnRef, Op, Term),
    Between(ColumnRef, Term, Term),
    In(ColumnRef, Vec<Term>),
    Like(ColumnRef, Term),
    Null(ColumnRef, bool),
    InSubquery(ColumnRef, Box<Subquery>),
    /// Rows of the subquery's first table that refer to the outer row along the reference.
    Exists(&'static ReferenceDefinition, &'static TableDefinition, Box<Subquery>),
    Having(AggregateRef, Op, Term),
    /// The boundary of a keyset page: rows after these values in this order.
    After(Vec<(ColumnRef, bool, Value)>),
    Refused(&'static str),
}

impl Predicate {
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All(mut left), Self::All(right)) => {
                left.extend(right);
                Self::All(left)
            }
            (Self::All(mut left), right) => {
                left.push(right);
                Self::All(left)
            }
            (left, right) => {
                // Room for the usual three or four filters in one allocation.
                let mut all = Vec::with_capacity(4);
                all.push(left);
                all.push(right);
                Self::All(all)
            }
        }
    }

    /// The tables of the subqueries.
    pub(crate) fn tables(&self, tables: &mut Vec<&'static TableDefinition>) {
        match self {
            Self::All(items) | Self::Any(items) => {
                for item in items {
                    item.tables(tables);
                }
            }
            Self::Not(inner) => inner.tables(tables),
            Self::InSubquery(_, subquery) | Self::Exists(_, _, subquery) => {
                subquery.select.collect_tables(tables);
            }
            _ => {}
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any(mut left), right) => {
                left.push(right);
                Self::Any(left)
            }
            (left, right) => Self::Any(vec![left, right]),
        }
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(items) => f.debug_tuple("all").field(items).finish(),
            Self::Any(items) => f.debug_tuple("any").field(items).finish(),
            Self::Not(inner) => f.debug_tuple("not").field(inner).finish(),
            Self::Compare(column, op, term) => write!(f, "{column:?}{}{term:?}", op.sql()),
            Self::Between(column, ..) => write!(f, "{column:?} between"),
            Self::In(column, _) => write!(f, "{column:?} in list"),
            Self::Like(column, _) => write!(f, "{column:?} like"),
            Self::Null(column, is) => {
                write!(f, "{column:?} is {}null", if *is { "" } else { "not " })
            }
            Self::InSubquery(column, subquery) => write!(f, "{column:?} in {:?}", subquery.select),
            Self::Exists(_, _, subquery) => write!(f, "exists in {:?}", subquery.select),
            Self::Having(aggregate, op, term) => {
                write!(f, "{aggregate:?}{}{term:?}", op.sql())
            }
            Self::After(_) => f.write_str("after cursor"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// A select inside another statement, with the scope it was born from; none in a draft.
#[derive(Debug, Clone)]
pub struct Subquery {
    pub(crate) scope: Option<TenantScope>,
    pub(crate) select: SelectAst,
    /// The one column that `IN` reads.
    pub(crate) column: Option<ColumnRef>,
}

/// How a table came into a statement; the other side is named by its position.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Link {
    /// The joined table is the one referred to.
    Parent { reference: &'static ReferenceDefinition, child: u8, outer: bool },
    /// The joined table is the one that refers.
    Child { reference: &'static ReferenceDefinition, parent: u8 },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Join {
    pub(crate) table: &'static TableDefinition,
    pub(crate) link: Link,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum OrderKey {
    Column(ColumnRef),
    Aggregate(AggregateRef),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderTerm {
    pub(crate) key: OrderKey,
    pub(crate) descending: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct SelectAst {
    pub(crate) base: &'static TableDefinition,
    pub(crate) joins: Vec<Join>,
    pub(crate) filter: Option<Predicate>,
    pub(crate) order: Vec<OrderTerm>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: Option<u64>,
    pub(crate) distinct: bool,
    pub(crate) unordered: bool,
    pub(crate) for_update: bool,
    /// Whether any row will do: the crate's own question whether there is one.
    pub(crate) probe: bool,
    pub(crate) groups: Vec<ColumnRef>,
    pub(crate) having: Option<Predicate>,
    /// A reference that the base or a joined table does not declare, and the like.
    pub(crate) misuse: Option<&'static str>,
    /// How deep the filters nest, subqueries included.
    pub(crate) depth: u16,
}

impl SelectAst {
    pub(crate) const fn new(base: &'static TableDefinition) -> Self {
        Self {
            base,
            joins: Vec::new(),
            filter: None,
            order: Vec::new(),
            limit: None,
            offset: None,
            distinct: false,
            unordered: false,
            for_update: false,
            probe: false,
            groups: Vec::new(),
            having: None,
            misuse: None,
            depth: 0,
        }
    }

    pub(crate) fn add_filter<T>(&mut self, filter: super::Filter<T>) {
        let predicate = filter.predicate;
        self.depth = self.depth.max(filter.depth);
        self.filter = Some(match self.filter.take() {
            Some(filter) => filter.and(predicate),
            None => predicate,
        });
    }

    /// Every table that the statement names, subqueries included.
    pub(crate) fn all_tables(&self) -> Vec<&'static TableDefinition> {
        let mut tables = Vec::new();
        self.collect_tables(&mut tables);
        tables
    }

    fn collect_tables(&self, tables: &mut Vec<&'static TableDefinition>) {
        tables.extend(self.tables());
        for predicate in self.filter.iter().chain(&self.having) {
            predicate.tables(tables);
        }
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &'static TableDefinition> + '_ {
        std::iter::once(self.base).chain(self.joins.iter().map(|join| join.table))
    }
}
