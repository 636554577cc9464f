//! Programs: an operation for everything that a user of one organization can do.

use tenantry::ErrorKind;

use super::cell::{Cell, Row};
use super::tables::{Kind, Tab};
use super::world::MARK;

macro_rules! listed {
    ($($(#[$meta:meta])* $name:ident { $($variant:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),* }
        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }
    )*};
}

listed! {
    /// What a program does.
    Verb {
        Find, FetchAll, FetchOptional, FetchOne, Stream, Count, Exists, Pages, PageBegin, PageNext,
        ProjectOne, ProjectTwo, ProjectJoined, Aggregate, Sum, AggregateJoined, Group, GroupJoined,
        Insert, InsertMany, UpsertUpdateOnKey, UpsertUpdateOnUnique, UpsertNothingOnKey,
        UpsertNothingOnUnique, UpsertMany, Update, Delete, InsertReturning, InsertManyReturning,
        UpsertReturning, UpdateReturning, DeleteReturning, Prepared, PreparedColumns,
        PreparedUpdate, PreparedDelete,
        TransactionCommit, TransactionRollback, TransactionDrop, SavepointRelease,
        SavepointRollback, SavepointDrop, Closure, Ticket, Suspend, OtherSuspended,
    }
    /// How a statement is put together.
    Clause {
        OrderAscending, OrderDescending, OrderNullable, Limit, Offset, Unordered, Distinct, ForUpdate,
        FilterTwice, AllOfTwo, AnyOfTwo, NoneOfTwo, Having, HavingGroup, HavingTwo,
        GroupOrderByAggregate, GroupLimit, SetValue, SetNull, SetColumn, SetPlus, SetMinus, SetKey,
        SetReference, SetUnique, RowsAll, RowsKey, RowsFilter, UpsertSetsKey, SubqueryLimit,
        SubqueryDistinct, GlobalTable,
    }
    /// The leaves and nodes of filters.
    Form {
        And, Or, Not, Eq, Ne, Lt, Le, Gt, Ge, EqNull, NeNull, LessThanNull, ColumnToColumn, Between,
        InList, InListEmpty, InListWithNull, IsNull, IsNotNull, Like, Contains, StartsWith, EndsWith,
    }
    /// A condition over another table.
    Over { InSubquery, ExistsIn }
    /// Where a filter stands.
    Slot {
        Select, First, Stream, Count, Exists, Aggregate, Group, Project, Page, Update, Delete, Nested, Join,
    }
    /// Joins.
    Shape {
        Inner, Left, LeftFrom, SelfInner, SelfLeft, Three, Four, Composite, Chain, ToGlobal,
        FromGlobal,
    }
    /// Statements that are refused.
    Refusal {
        NulText, OverRangeDecimal, NotANumber, EmptyBatch, DuplicateInBatch, RefusedInBatch,
        ForUpdateOutside, LimitWithoutOrder, EmptyPage, ForeignCursor, MisplacedCursor, GarbageCursor,
        ForeignSubquery, ForeignTransaction, AmbiguousOccurrence, SetTwice, SetNothing,
        UnknownConflictTarget, TooDeep, LoneBackslash, AggregateWithLimit, DistinctOrder,
        ForeignTicket, AfterFailure,
    }
}

/// What must be generated; a feature that never was fails the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Verb(Verb),
    Clause(Clause),
    Form(Form),
    Over(Over, Slot),
    Joined(Shape),
    Column(u8),
    Refused(Refusal),
    /// An error kind that A met.
    Met(&'static str),
}

/// The kinds of errors that programs must meet.
pub const KINDS: [(ErrorKind, &str); 5] = [
    (ErrorKind::Conflict, "conflict"),
    (ErrorKind::NotFound, "not found"),
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::Misuse, "misuse"),
    (ErrorKind::Denied, "denied"),
];

impl Feature {
    pub fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        all.extend(Verb::ALL.iter().copied().map(Self::Verb));
        all.extend(Clause::ALL.iter().copied().map(Self::Clause));
        all.extend(Form::ALL.iter().copied().map(Self::Form));
        for over in Over::ALL {
            all.extend(Slot::ALL.iter().map(|slot| Self::Over(*over, *slot)));
        }
        all.extend(Shape::ALL.iter().copied().map(Self::Joined));
        all.extend((0..Tab::Item.columns().len()).map(|at| Self::Column(at as u8)));
        all.extend(Refusal::ALL.iter().copied().map(Self::Refused));
        all.extend(KINDS.map(|(_, name)| Self::Met(name)));
        all
    }
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

/// A filter of one table; columns are positions.
#[derive(Debug, Clone)]
pub enum F {
    And(Box<F>, Box<F>),
    Or(Box<F>, Box<F>),
    Not(Box<F>),
    Compare(usize, Op, Cell),
    Columns(usize, Op, usize),
    Between(usize, Cell, Cell),
    In(usize, Vec<Cell>),
    Null(usize, bool),
    Like(usize, Form, String),
    InSub(usize, Box<Sub>),
    Exists(Edge, Box<Sub>),
}

/// References along which `exists_in` goes, from parent to child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    OrderCustomer,
    LineOrder,
    EmployeeBoss,
    ItemGenre,
}

impl Edge {
    /// Parent, child, and the child's column.
    pub const fn ends(self) -> (Tab, Tab, usize) {
        match self {
            Self::OrderCustomer => (Tab::Customer, Tab::Order, 1),
            Self::LineOrder => (Tab::Order, Tab::Line, 0),
            Self::EmployeeBoss => (Tab::Employee, Tab::Employee, 2),
            Self::ItemGenre => (Tab::Genre, Tab::Item, 27),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Sub {
    pub tab: Tab,
    /// The column that `in_subquery` reads.
    pub column: usize,
    pub filter: Option<F>,
    pub order: Vec<(usize, bool)>,
    pub limit: Option<u64>,
    pub offset: Option<u64>,
    pub distinct: bool,
}

/// A condition; `u8` is the table of the join.
#[derive(Debug, Clone)]
pub enum Cond {
    One(u8, F),
    All((u8, F), (u8, F)),
    Any((u8, F), (u8, F)),
    NotAny((u8, F), (u8, F)),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    One(Tab),
    Join(Shape),
}

/// How a joined table hangs on the others: the child's place, its columns, the parent's place.
#[derive(Debug, Clone, Copy)]
pub enum Link {
    Parent { child: usize, columns: &'static [usize], outer: bool },
    Child { parent: usize, columns: &'static [usize] },
}

impl From {
    pub fn base(self) -> Tab {
        self.tables()[0]
    }

    pub fn tables(self) -> Vec<Tab> {
        use Tab::*;
        match self {
            Self::One(tab) => vec![tab],
            Self::Join(shape) => match shape {
                Shape::Inner | Shape::Left => vec![Order, Customer],
                Shape::LeftFrom => vec![Customer, Order],
                Shape::SelfInner | Shape::SelfLeft => vec![Employee, Employee],
                Shape::Three => vec![Line, Order, Customer],
                Shape::Four => vec![Shipment, Line, Order, Customer],
                Shape::Composite => vec![Shipment, Line],
                Shape::Chain => vec![Customer, Order, Line],
                Shape::ToGlobal => vec![Item, Genre],
                Shape::FromGlobal => vec![Genre, Item],
            },
        }
    }

    pub fn links(self) -> Vec<Link> {
        let parent = |child, columns, outer| Link::Parent { child, columns, outer };
        let Self::Join(shape) = self else { return Vec::new() };
        match shape {
            Shape::Inner => vec![parent(0, &[1], false)],
            Shape::Left => vec![parent(0, &[1], true)],
            Shape::LeftFrom => vec![Link::Child { parent: 0, columns: &[1] }],
            Shape::SelfInner => vec![parent(0, &[2], false)],
            Shape::SelfLeft => vec![parent(0, &[2], true)],
            Shape::Three => vec![parent(0, &[0], false), parent(1, &[1], false)],
            Shape::Four => {
                vec![parent(0, &[1, 2], true), parent(1, &[0], true), parent(2, &[1], true)]
            }
            Shape::Composite => vec![parent(0, &[1, 2], false)],
            Shape::Chain => {
                vec![
                    Link::Child { parent: 0, columns: &[1] },
                    Link::Child { parent: 1, columns: &[0] },
                ]
            }
            Shape::ToGlobal => vec![parent(0, &[27], true)],
            Shape::FromGlobal => vec![Link::Child { parent: 0, columns: &[27] }],
        }
    }

    /// Of a join: two columns to project, one to group by and one number to sum.
    pub const fn typed(shape: Shape) -> [(usize, usize); 4] {
        match shape {
            Shape::Inner | Shape::Left => [(0, 0), (1, 1), (1, 2), (0, 3)],
            Shape::LeftFrom => [(0, 1), (1, 3), (1, 4), (1, 3)],
            Shape::SelfInner | Shape::SelfLeft => [(0, 0), (1, 1), (1, 0), (0, 3)],
            Shape::Three => [(0, 2), (2, 1), (1, 2), (1, 3)],
            Shape::Four => [(0, 0), (3, 1), (2, 2), (2, 3)],
            Shape::Composite => [(0, 3), (1, 2), (1, 0), (1, 1)],
            Shape::Chain => [(0, 0), (2, 2), (1, 0), (1, 3)],
            Shape::ToGlobal => [(0, 0), (1, 1), (1, 1), (0, 4)],
            Shape::FromGlobal => [(0, 1), (1, 6), (1, 0), (1, 17)],
        }
    }
}

#[derive(Debug, Clone)]
pub struct Read {
    pub from: From,
    pub conds: Vec<Cond>,
    pub order: Vec<(u8, usize, bool)>,
    pub limit: Option<u64>,
    pub offset: Option<u64>,
    pub unordered: bool,
    pub for_update: bool,
    /// Whether columns of a join say which occurrence they mean.
    pub at: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    All,
    Optional,
    One,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agg {
    Count,
    CountColumn,
    CountDistinct,
    Sum,
    Min,
    Max,
}

impl Agg {
    pub const ALL: [Self; 6] =
        [Self::Count, Self::CountColumn, Self::CountDistinct, Self::Sum, Self::Min, Self::Max];
}

#[derive(Debug, Clone)]
pub enum Having {
    One(Agg, Op, i64),
    Two((Agg, Op, i64), (Agg, Op, i64)),
    Group(F),
}

#[derive(Debug, Clone)]
pub enum End {
    Rows(How),
    Stream,
    Count,
    Exists,
    Pages(u32),
    Column {
        column: usize,
        distinct: bool,
        how: How,
    },
    /// A column and a 64-bit one.
    Pair {
        column: usize,
        integer: usize,
        distinct: bool,
        how: How,
    },
    /// Count, minimum, maximum, count and count distinct of a column.
    Stats {
        column: usize,
    },
    Sum {
        column: usize,
    },
    /// Count and an aggregate of a 64-bit column, for each value of a column.
    Group {
        column: usize,
        integer: usize,
        agg: Agg,
        having: Option<Having>,
        order: Option<(bool, bool)>,
        limit: Option<u64>,
    },
    JoinPair {
        distinct: bool,
        how: How,
    },
    JoinStats,
    JoinGroup {
        having: Option<i64>,
    },
}

#[derive(Debug, Clone)]
pub enum Set {
    Value(Cell),
    Column(usize),
    Add(Cell),
    Sub(Cell),
}

#[derive(Debug, Clone)]
pub enum Rows {
    All,
    Key(Vec<i64>),
    Filter(Vec<Cond>),
}

#[derive(Debug, Clone)]
pub struct Upsert {
    pub unique: bool,
    /// None: do nothing.
    pub update: Vec<usize>,
}

/// Prepared shapes with their arguments.
#[derive(Debug, Clone)]
pub enum Prepared {
    ByEmail { email: String, min: i64 },
    ByNote { note: Option<String> },
    Joined { name: String, how: How },
    Subquery { name: String },
    Exists { min: i64 },
    Between { low: i64, high: i64, id: i64 },
    Columns { min: i64, how: How },
    Distinct { min: i64 },
    JoinColumns { name: String },
    SetNote { id: i64, note: Option<String> },
    SetCustomer { name: String, customer: i64 },
    Delete { id: i64 },
    DeleteOf { name: String },
}

#[derive(Debug, Clone)]
pub enum Stmt {
    Find { tab: Tab, key: Vec<i64>, one: bool, for_update: bool },
    Read(Read, End),
    Insert { tab: Tab, rows: Vec<Row>, many: bool, upsert: Option<Upsert>, returning: Option<How> },
    Update { tab: Tab, set: Vec<(usize, Set)>, rows: Rows, returning: bool },
    Delete { tab: Tab, rows: Rows, returning: bool },
    Prepared(Prepared),
    Refused(Refusal, Tab),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Keep,
    Undo,
    Drop,
}

#[derive(Debug, Clone)]
pub enum Step {
    Do(Stmt),
    Savepoint(Vec<Step>, Ending),
}

/// One thing that an organization does.
#[derive(Debug, Clone)]
pub enum Operation {
    Run(Stmt),
    Transaction(Vec<Step>, Ending),
    Closure(Vec<Stmt>),
    PageBegin(Read, u32),
    PageNext(u32),
    Ticket,
    ForeignTicket,
    /// Suspended; the statement fails; resumed; it fails still; entered anew.
    Suspend(Stmt),
}

/// What another organization does in the second world before A's operation.
#[derive(Debug, Clone)]
pub enum Other {
    Does(Operation),
    Suspended,
}

#[derive(Debug, Clone)]
pub struct Turn {
    pub others: Vec<(bool, Other)>,
    pub ours: Operation,
}

#[derive(Debug, Clone)]
pub struct Program {
    pub turns: Vec<Turn>,
}

// ---- walks

impl Cond {
    fn parts(&self) -> Vec<&F> {
        match self {
            Self::One(_, f) => vec![f],
            Self::All((_, a), (_, b))
            | Self::Any((_, a), (_, b))
            | Self::NotAny((_, a), (_, b)) => vec![a, b],
        }
    }

    pub fn mentions_exists(&self) -> bool {
        self.parts().into_iter().any(F::mentions_exists)
    }
}

impl F {
    pub fn mentions_exists(&self) -> bool {
        match self {
            Self::And(a, b) | Self::Or(a, b) => a.mentions_exists() || b.mentions_exists(),
            Self::Not(f) => f.mentions_exists(),
            Self::Exists(..) => true,
            _ => false,
        }
    }
}

/// B's version of a statement: every text that it writes carries the mark.
pub fn mark(operation: &mut Operation) {
    match operation {
        Operation::Run(stmt) | Operation::Suspend(stmt) => mark_stmt(stmt),
        Operation::Closure(stmts) => stmts.iter_mut().for_each(mark_stmt),
        Operation::Transaction(steps, _) => mark_steps(steps),
        _ => {}
    }
}

fn mark_steps(steps: &mut [Step]) {
    for step in steps {
        match step {
            Step::Do(stmt) => mark_stmt(stmt),
            Step::Savepoint(steps, _) => mark_steps(steps),
        }
    }
}

fn mark_cell(tab: Tab, column: usize, cell: &mut Cell) {
    if let Cell::Text(text) = cell {
        match tab.columns()[column].kind {
            Kind::Text => text.insert_str(0, MARK),
            Kind::Json => *text = format!("\"{MARK}\""),
            _ => {}
        }
    }
}

fn mark_stmt(stmt: &mut Stmt) {
    match stmt {
        Stmt::Insert { tab, rows, .. } => {
            for row in rows {
                for (column, cell) in row.iter_mut().enumerate() {
                    mark_cell(*tab, column, cell);
                }
            }
        }
        Stmt::Update { tab, set, .. } => {
            for (column, to) in set {
                if let Set::Value(cell) = to {
                    mark_cell(*tab, *column, cell);
                }
            }
        }
        Stmt::Prepared(Prepared::SetNote { note: Some(note), .. }) => note.insert_str(0, MARK),
        _ => {}
    }
}
