//! Programs: an operation for everything that a user of one organization can do, and the generator.

use std::collections::BTreeSet;

use tenantry::ErrorKind;

use super::world::{Cell, Kind, MARK, Row, Tab};

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

// ---- random numbers

/// SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn id(&mut self) -> i64 {
        1 + self.below(5) as i64
    }
}

// ---- the generator

pub struct Generator {
    pub random: Random,
    pub seen: Vec<Feature>,
}

const TEXTS: [&str; 8] = ["", "a", "ab", "B", "a%b", "z_", "é", "jazz"];
const EMAILS: [&str; 5] = ["a@x", "b@x", "c@x", "A@x", "d_%@x"];
const PATTERNS: [&str; 7] = ["%", "a%", "%b", "_", "a\\%b", "A%", "%@x"];

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { random: Random(seed), seen: Vec::new() }
    }

    fn saw(&mut self, feature: Feature) {
        self.seen.push(feature);
    }

    fn clause(&mut self, clause: Clause) {
        self.saw(Feature::Clause(clause));
    }

    fn verb(&mut self, verb: Verb) {
        self.saw(Feature::Verb(verb));
    }

    /// A value for a column.
    fn cell(&mut self, tab: Tab, column: usize) -> Cell {
        let col = tab.columns()[column];
        if col.null && self.random.one_in(4) {
            return Cell::Null;
        }
        if tab == Tab::Order && column == 2 {
            return Cell::Text(self.random.pick(&EMAILS).into());
        }
        self.value(col.kind)
    }

    fn value(&mut self, kind: Kind) -> Cell {
        let small = self.random.below(3) as i64;
        match kind {
            Kind::Bool => Cell::Int(small % 2),
            Kind::I16 | Kind::I32 => Cell::Int(small * 7 - 7),
            Kind::I64 => Cell::Int(self.random.id()),
            Kind::F64 => Cell::Float(small * 3 - 2),
            Kind::Text => Cell::Text(self.random.pick(&TEXTS).into()),
            Kind::Bytes => Cell::Bytes(vec![small as u8; small as usize]),
            Kind::Uuid => Cell::Bytes(vec![small as u8 + 1; 16]),
            Kind::Time => Cell::Time(small * 500_000 - 500_000),
            Kind::Date => Cell::Int(2_460_000 + small),
            Kind::Json => Cell::Text(["1", "\"x\"", "[1,null]"][small as usize].into()),
            Kind::Decimal => Cell::Int(small * 105 - 105),
            Kind::State => Cell::Text(["open", "paid", "shut"][small as usize].into()),
        }
    }

    fn row(&mut self, tab: Tab) -> Row {
        if tab == Tab::Item {
            for at in 0..tab.columns().len() {
                self.saw(Feature::Column(at as u8));
            }
        }
        let mut row: Row = (0..tab.columns().len()).map(|column| self.cell(tab, column)).collect();
        if tab == Tab::Item && row[27] == Cell::Int(5) && self.random.one_in(2) {
            row[27] = Cell::Null;
        }
        row
    }

    fn key(&mut self, tab: Tab) -> Vec<i64> {
        (0..tab.keys().len()).map(|_| self.random.id()).collect()
    }

    fn column(&mut self, tab: Tab) -> usize {
        self.random.below(tab.columns().len())
    }

    fn column_where(&mut self, tab: Tab, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..tab.columns().len()).filter(|at| fits(*at)).collect();
        (!fitting.is_empty()).then(|| self.random.pick(&fitting))
    }

    fn integer(&mut self, tab: Tab) -> usize {
        self.column_where(tab, |at| tab.columns()[at].kind == Kind::I64).unwrap()
    }

    // ---- filters

    fn filter(&mut self, tab: Tab, slot: Slot, depth: usize) -> F {
        if depth > 0 && self.random.one_in(2) {
            let form = self.random.pick(&[Form::And, Form::Or, Form::Not]);
            self.saw(Feature::Form(form));
            let left = Box::new(self.filter(tab, slot, depth - 1));
            return match form {
                Form::And => F::And(left, Box::new(self.filter(tab, slot, depth - 1))),
                Form::Or => F::Or(left, Box::new(self.filter(tab, slot, depth - 1))),
                _ => F::Not(left),
            };
        }
        self.leaf(tab, slot, depth)
    }

    fn leaf(&mut self, tab: Tab, slot: Slot, depth: usize) -> F {
        let column = self.column(tab);
        let col = tab.columns()[column];
        match self.random.below(10) {
            0..=2 => {
                let op = self.random.pick(&[Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge]);
                let cell = if self.random.one_in(8) { Cell::Null } else { self.cell(tab, column) };
                let form = match (&cell, op) {
                    (Cell::Null, Op::Eq) => Form::EqNull,
                    (Cell::Null, Op::Ne) => Form::NeNull,
                    (Cell::Null, _) => Form::LessThanNull,
                    (_, Op::Eq) => Form::Eq,
                    (_, Op::Ne) => Form::Ne,
                    (_, Op::Lt) => Form::Lt,
                    (_, Op::Le) => Form::Le,
                    (_, Op::Gt) => Form::Gt,
                    (_, Op::Ge) => Form::Ge,
                };
                self.saw(Feature::Form(form));
                F::Compare(column, op, cell)
            }
            3 => {
                let other =
                    self.column_where(tab, |at| tab.columns()[at].kind == col.kind).unwrap();
                self.saw(Feature::Form(Form::ColumnToColumn));
                let op = self.random.pick(&[Op::Eq, Op::Ne, Op::Lt, Op::Ge]);
                F::Columns(column, op, other)
            }
            4 => {
                self.saw(Feature::Form(Form::Between));
                F::Between(column, self.cell(tab, column), self.cell(tab, column))
            }
            5 => {
                let count = self.random.below(4);
                let mut cells: Vec<Cell> = (0..count).map(|_| self.cell(tab, column)).collect();
                if self.random.one_in(6) {
                    cells.push(Cell::Null);
                }
                self.saw(Feature::Form(match &cells[..] {
                    [] => Form::InListEmpty,
                    cells if cells.contains(&Cell::Null) => Form::InListWithNull,
                    _ => Form::InList,
                }));
                F::In(column, cells)
            }
            6 => {
                let is = self.random.one_in(2);
                self.saw(Feature::Form(if is { Form::IsNull } else { Form::IsNotNull }));
                F::Null(column, is)
            }
            7 => match self.column_where(tab, |at| tab.columns()[at].kind == Kind::Text) {
                Some(column) => {
                    let form = self.random.pick(&[
                        Form::Like,
                        Form::Contains,
                        Form::StartsWith,
                        Form::EndsWith,
                    ]);
                    self.saw(Feature::Form(form));
                    let text = match form {
                        Form::Like => self.random.pick(&PATTERNS),
                        _ => self.random.pick(&["", "a", "%", "_", "@x", "b"]),
                    };
                    F::Like(column, form, text.into())
                }
                None => F::Null(column, true),
            },
            _ => self.over(tab, slot, depth),
        }
    }

    /// A condition over another table.
    fn over(&mut self, tab: Tab, slot: Slot, depth: usize) -> F {
        let edges: &[Edge] = match tab {
            Tab::Customer => &[Edge::OrderCustomer],
            Tab::Order => &[Edge::LineOrder],
            Tab::Employee => &[Edge::EmployeeBoss],
            Tab::Genre => &[Edge::ItemGenre],
            _ => &[],
        };
        let inner = depth.saturating_sub(1);
        // A join resolves the outer table of `exists_in` by its one occurrence.
        if !edges.is_empty() && self.random.one_in(2) {
            let edge = self.random.pick(edges);
            self.saw(Feature::Over(Over::ExistsIn, slot));
            let sub = self.sub(edge.ends().1, 0, inner);
            return F::Exists(edge, Box::new(sub));
        }
        let column = self
            .column_where(tab, |at| matches!(tab.columns()[at].kind, Kind::I64 | Kind::Text))
            .unwrap();
        let kind = tab.columns()[column].kind;
        let other = self.random.pick(&Tab::ALL);
        let Some(at) = self.column_where(other, |at| other.columns()[at].kind == kind) else {
            return F::Null(column, false);
        };
        self.saw(Feature::Over(Over::InSubquery, slot));
        let sub = self.sub(other, at, inner);
        F::InSub(column, Box::new(sub))
    }

    fn sub(&mut self, tab: Tab, column: usize, depth: usize) -> Sub {
        let filter = (!self.random.one_in(3)).then(|| self.filter(tab, Slot::Nested, depth));
        let limited = self.random.one_in(4);
        let mut sub = Sub {
            tab,
            column,
            filter,
            order: Vec::new(),
            limit: None,
            offset: None,
            distinct: false,
        };
        if limited {
            self.clause(Clause::SubqueryLimit);
            sub.limit = Some(self.random.below(3) as u64);
            sub.offset = self.random.one_in(3).then(|| self.random.below(2) as u64);
            if self.random.one_in(2) {
                sub.order.push((self.column(tab), self.random.one_in(2)));
            }
        } else if self.random.one_in(5) {
            self.clause(Clause::SubqueryDistinct);
            sub.distinct = true;
        }
        sub
    }

    fn conds(&mut self, from: From, slot: Slot) -> Vec<Cond> {
        let tables = from.tables();
        let slot = if tables.len() > 1 { Slot::Join } else { slot };
        let mut conds = Vec::new();
        let count = [0, 1, 1, 1, 2][self.random.below(5)];
        if count == 2 {
            self.clause(Clause::FilterTwice);
        }
        for _ in 0..count {
            if self.random.one_in(4) {
                let second = usize::from(tables.len() > 1);
                let left = (0, self.filter(tables[0], slot, 1));
                let right = (second as u8, self.filter(tables[second], slot, 1));
                conds.push(match self.random.below(3) {
                    0 => {
                        self.clause(Clause::AllOfTwo);
                        Cond::All(left, right)
                    }
                    1 => {
                        self.clause(Clause::AnyOfTwo);
                        Cond::Any(left, right)
                    }
                    _ => {
                        self.clause(Clause::NoneOfTwo);
                        Cond::NotAny(left, right)
                    }
                });
            } else {
                let member = self.random.below(tables.len());
                let filter = self.filter(tables[member], slot, 2);
                conds.push(Cond::One(member as u8, filter));
            }
        }
        if matches!(from, From::Join(Shape::SelfInner | Shape::SelfLeft)) {
            conds.retain(|cond| !cond.mentions_exists());
        }
        conds
    }

    // ---- reads

    fn from(&mut self) -> From {
        if self.random.one_in(3) {
            let shape = self.random.pick(Shape::ALL);
            self.saw(Feature::Joined(shape));
            return From::Join(shape);
        }
        let tab = self.random.pick(&Tab::ALL);
        if tab == Tab::Genre {
            self.clause(Clause::GlobalTable);
        }
        From::One(tab)
    }

    fn read(&mut self, from: From, slot: Slot) -> Read {
        let tables = from.tables();
        let mut order = Vec::new();
        for _ in 0..[0, 0, 1, 2][self.random.below(4)] {
            let member = self.random.below(tables.len());
            let column = self.column(tables[member]);
            let descending = self.random.one_in(2);
            self.clause(if descending { Clause::OrderDescending } else { Clause::OrderAscending });
            if tables[member].columns()[column].null {
                self.clause(Clause::OrderNullable);
            }
            order.push((member as u8, column, descending));
        }
        let limit = self.random.one_in(3).then(|| {
            self.clause(Clause::Limit);
            self.random.below(4) as u64
        });
        let offset = self.random.one_in(5).then(|| {
            self.clause(Clause::Offset);
            self.random.below(3) as u64
        });
        let at =
            self.random.one_in(2) || matches!(from, From::Join(Shape::SelfInner | Shape::SelfLeft));
        let conds = self.conds(from, slot);
        Read { from, conds, order, limit, offset, unordered: false, for_update: false, at }
    }

    fn how(&mut self) -> How {
        self.random.pick(&[How::All, How::All, How::Optional, How::One])
    }

    fn select(&mut self, inside: bool) -> Stmt {
        let from = self.from();
        let joined = matches!(from, From::Join(_));
        let tab = from.base();
        let (verb, slot, end) = match self.random.below(12) {
            0..=2 => {
                let how = self.how();
                match how {
                    How::All => (Verb::FetchAll, Slot::Select, End::Rows(how)),
                    How::Optional => (Verb::FetchOptional, Slot::First, End::Rows(how)),
                    How::One => (Verb::FetchOne, Slot::First, End::Rows(how)),
                }
            }
            3 => (Verb::Stream, Slot::Stream, End::Stream),
            4 => (Verb::Count, Slot::Count, End::Count),
            5 => (Verb::Exists, Slot::Exists, End::Exists),
            6 => (Verb::Pages, Slot::Page, End::Pages(1 + self.random.below(3) as u32)),
            7 if joined => {
                let distinct = self.random.one_in(2);
                (Verb::ProjectJoined, Slot::Project, End::JoinPair { distinct, how: self.how() })
            }
            7 | 8 if !joined => {
                let distinct = self.random.one_in(2);
                let column = self.column(tab);
                if self.random.one_in(2) {
                    let end = End::Column { column, distinct, how: self.how() };
                    (Verb::ProjectOne, Slot::Project, end)
                } else {
                    let integer = self.integer(tab);
                    let end = End::Pair { column, integer, distinct, how: self.how() };
                    (Verb::ProjectTwo, Slot::Project, end)
                }
            }
            9 if joined => (Verb::AggregateJoined, Slot::Aggregate, End::JoinStats),
            9 => {
                if self.random.one_in(2) {
                    let column = self.column_where(tab, |at| tab.columns()[at].kind != Kind::Json);
                    (Verb::Aggregate, Slot::Aggregate, End::Stats { column: column.unwrap() })
                } else {
                    let column = self.column_where(tab, |at| {
                        let kind = tab.columns()[at].kind;
                        kind.is_number() || kind == Kind::F64
                    });
                    (Verb::Sum, Slot::Aggregate, End::Sum { column: column.unwrap() })
                }
            }
            _ if joined => {
                let having = self.random.one_in(2).then(|| {
                    self.clause(Clause::Having);
                    self.random.below(3) as i64
                });
                (Verb::GroupJoined, Slot::Group, End::JoinGroup { having })
            }
            _ => (Verb::Group, Slot::Group, self.group(tab)),
        };
        self.verb(verb);
        let mut read = self.read(from, slot);
        match &end {
            End::Stats { .. } | End::Sum { .. } | End::JoinStats => {
                if !self.random.one_in(12) {
                    read.order.clear();
                    read.limit = None;
                    read.offset = None;
                } else if read.limit.is_some() || read.offset.is_some() || !read.order.is_empty() {
                    self.saw(Feature::Refused(Refusal::AggregateWithLimit));
                }
            }
            End::Group { .. } | End::JoinGroup { .. } => {
                read.order.clear();
                read.limit = None;
                read.offset = None;
            }
            End::Pages(_) => {
                read.limit = None;
                read.offset = None;
            }
            End::Column { column, distinct: true, .. } => {
                self.clause(Clause::Distinct);
                self.distinct_order(&mut read, &[(0, *column)]);
            }
            End::Pair { column, integer, distinct: true, .. } => {
                self.clause(Clause::Distinct);
                self.distinct_order(&mut read, &[(0, *column), (0, *integer)]);
            }
            End::JoinPair { distinct: true, .. } => {
                self.clause(Clause::Distinct);
                if let From::Join(shape) = from {
                    let [a, b, ..] = From::typed(shape);
                    self.distinct_order(&mut read, &[a, b]);
                }
            }
            End::Rows(How::All) | End::Stream | End::Count if self.random.one_in(6) => {
                self.clause(Clause::Unordered);
                read.unordered = true;
                read.order.clear();
                if self.random.one_in(4) {
                    read.limit = Some(2);
                    self.saw(Feature::Refused(Refusal::LimitWithoutOrder));
                } else {
                    read.limit = None;
                    read.offset = None;
                }
            }
            _ => {}
        }
        if matches!(end, End::Rows(_) | End::Stream | End::Pages(_)) && self.random.one_in(10) {
            read.for_update = true;
            self.clause(Clause::ForUpdate);
            if !inside {
                self.saw(Feature::Refused(Refusal::ForUpdateOutside));
            }
        }
        Stmt::Read(read, end)
    }

    fn distinct_order(&mut self, read: &mut Read, columns: &[(usize, usize)]) {
        let allowed = |(member, column, _): &(u8, usize, bool)| {
            columns.contains(&(usize::from(*member), *column))
        };
        if !read.order.iter().all(allowed) {
            if self.random.one_in(4) {
                self.saw(Feature::Refused(Refusal::DistinctOrder));
            } else {
                read.order.retain(allowed);
            }
        }
    }

    fn aggregate(&mut self) -> (Agg, Op, i64) {
        let op = self.random.pick(&[Op::Eq, Op::Lt, Op::Le, Op::Gt, Op::Ge]);
        (self.random.pick(&Agg::ALL), op, self.random.below(5) as i64)
    }

    fn group(&mut self, tab: Tab) -> End {
        let column = self.column(tab);
        let integer = self.integer(tab);
        let having = self.random.one_in(2).then(|| match self.random.below(3) {
            0 => {
                self.clause(Clause::Having);
                let (agg, op, value) = self.aggregate();
                Having::One(agg, op, value)
            }
            1 => {
                self.clause(Clause::HavingTwo);
                Having::Two(self.aggregate(), self.aggregate())
            }
            _ => {
                self.clause(Clause::HavingGroup);
                Having::Group(F::Compare(column, Op::Ge, self.cell(tab, column)))
            }
        });
        let order = self.random.one_in(2).then(|| {
            self.clause(Clause::GroupOrderByAggregate);
            (self.random.one_in(2), self.random.one_in(2))
        });
        let limit = self.random.one_in(3).then(|| {
            self.clause(Clause::GroupLimit);
            self.random.below(3) as u64
        });
        End::Group { column, integer, agg: self.random.pick(&Agg::ALL), having, order, limit }
    }

    // ---- writes

    fn insert(&mut self) -> Stmt {
        let tab = self.random.pick(&Tab::OWNED);
        let many = self.random.one_in(3);
        let count = if many { 1 + self.random.below(4) } else { 1 };
        let mut rows: Vec<Row> = (0..count).map(|_| self.row(tab)).collect();
        if tab == Tab::Employee && many {
            // What a batch means whose rows refer to later rows depends on how it is split.
            let ids: Vec<Cell> = rows.iter().map(|row| row[0].clone()).collect();
            for (at, row) in rows.iter_mut().enumerate() {
                if ids[at + 1..].contains(&row[2]) {
                    row[2] = Cell::Null;
                }
            }
        }
        let keys = |row: &Row| tab.keys().iter().map(|at| row[*at].clone()).collect::<Vec<_>>();
        let distinct: BTreeSet<Vec<Cell>> = rows.iter().map(keys).collect();
        if many && distinct.len() < rows.len() {
            self.saw(Feature::Refused(Refusal::DuplicateInBatch));
        }
        let upsert = self.random.one_in(3).then(|| self.upsert(tab, many));
        let returning = self.random.one_in(3).then(|| if many { How::All } else { self.how() });
        match (&upsert, many) {
            (Some(_), true) => self.verb(Verb::UpsertMany),
            (Some(upsert), false) => self.verb(match (upsert.unique, upsert.update.is_empty()) {
                (false, false) => Verb::UpsertUpdateOnKey,
                (true, false) => Verb::UpsertUpdateOnUnique,
                (false, true) => Verb::UpsertNothingOnKey,
                (true, true) => Verb::UpsertNothingOnUnique,
            }),
            (None, true) => self.verb(Verb::InsertMany),
            (None, false) => self.verb(Verb::Insert),
        }
        if returning.is_some() {
            self.verb(match (&upsert, many) {
                (Some(_), _) => Verb::UpsertReturning,
                (None, true) => Verb::InsertManyReturning,
                (None, false) => Verb::InsertReturning,
            });
        }
        if self.random.one_in(40) {
            let at = self.random.below(rows.len());
            let Some(column) = self.column_where(tab, |at| {
                matches!(tab.columns()[at].kind, Kind::Text | Kind::Decimal | Kind::F64)
            }) else {
                return Stmt::Insert { tab, rows, many, upsert, returning };
            };
            let (cell, refusal) = match tab.columns()[column].kind {
                Kind::Text => (Cell::Text("a\0b".into()), Refusal::NulText),
                Kind::Decimal => (Cell::Bad, Refusal::OverRangeDecimal),
                _ => (Cell::Bad, Refusal::NotANumber),
            };
            self.saw(Feature::Refused(refusal));
            if many {
                self.saw(Feature::Refused(Refusal::RefusedInBatch));
            }
            rows[at][column] = cell;
        }
        Stmt::Insert { tab, rows, many, upsert, returning }
    }

    fn upsert(&mut self, tab: Tab, many: bool) -> Upsert {
        let unique = tab.unique().is_some() && self.random.one_in(2);
        let mut update = Vec::new();
        if !self.random.one_in(3) {
            for _ in 0..1 + self.random.below(2) {
                let column = self.column(tab);
                let key = tab.keys().contains(&column);
                if !(update.contains(&column) || many && key) {
                    if key {
                        self.clause(Clause::UpsertSetsKey);
                    }
                    update.push(column);
                }
            }
        }
        Upsert { unique, update }
    }

    fn rows(&mut self, tab: Tab, slot: Slot) -> Rows {
        match self.random.below(6) {
            0 => {
                self.clause(Clause::RowsAll);
                Rows::All
            }
            1 | 2 => {
                self.clause(Clause::RowsKey);
                Rows::Key(self.key(tab))
            }
            _ => {
                self.clause(Clause::RowsFilter);
                let mut conds = self.conds(From::One(tab), slot);
                if conds.is_empty() {
                    conds.push(Cond::One(0, self.filter(tab, slot, 2)));
                }
                Rows::Filter(conds)
            }
        }
    }

    fn update(&mut self) -> Stmt {
        let tab = self.random.pick(&Tab::OWNED);
        let returning = self.random.one_in(3);
        self.verb(if returning { Verb::UpdateReturning } else { Verb::Update });
        let rows = self.rows(tab, Slot::Update);
        let mut set: Vec<(usize, Set)> = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            let column = self.column(tab);
            if set.iter().any(|(at, _)| *at == column) {
                continue;
            }
            let col = tab.columns()[column];
            let bound = tab.keys().contains(&column) || tab.unique() == Some(column);
            // Rows whose keys move over one another depend on the order in which the store takes them.
            let constant = bound && !matches!(rows, Rows::Key(_));
            if tab.keys().contains(&column) {
                self.clause(Clause::SetKey);
            }
            if tab.unique() == Some(column) {
                self.clause(Clause::SetUnique);
            }
            if tab.references().iter().any(|(columns, ..)| columns.contains(&column)) {
                self.clause(Clause::SetReference);
            }
            let to = match self.random.below(5) {
                0 if !constant && col.kind.is_number() => {
                    self.clause(Clause::SetPlus);
                    Set::Add(self.step(col.kind))
                }
                1 if !constant && col.kind.is_number() => {
                    self.clause(Clause::SetMinus);
                    Set::Sub(self.step(col.kind))
                }
                2 if !constant => {
                    let other = self.column_where(tab, |at| {
                        let other = tab.columns()[at];
                        other.kind == col.kind && other.null == col.null
                    });
                    self.clause(Clause::SetColumn);
                    Set::Column(other.unwrap())
                }
                _ => {
                    let cell = self.cell(tab, column);
                    self.clause(if cell == Cell::Null {
                        Clause::SetNull
                    } else {
                        Clause::SetValue
                    });
                    Set::Value(cell)
                }
            };
            set.push((column, to));
        }
        Stmt::Update { tab, set, rows, returning }
    }

    /// What is added; now and then more than the column holds.
    fn step(&mut self, kind: Kind) -> Cell {
        if self.random.one_in(6) {
            return Cell::Int(match kind {
                Kind::I16 => i64::from(i16::MAX),
                Kind::I32 => i64::from(i32::MAX),
                _ => i64::MAX,
            });
        }
        Cell::Int(1 + self.random.below(2) as i64)
    }

    fn delete(&mut self) -> Stmt {
        let tab = self.random.pick(&Tab::OWNED);
        let returning = self.random.one_in(3);
        self.verb(if returning { Verb::DeleteReturning } else { Verb::Delete });
        Stmt::Delete { tab, rows: self.rows(tab, Slot::Delete), returning }
    }

    fn find(&mut self, inside: bool) -> Stmt {
        let tab = self.random.pick(&Tab::ALL);
        self.verb(Verb::Find);
        let for_update = self.random.one_in(12);
        if for_update && !inside {
            self.saw(Feature::Refused(Refusal::ForUpdateOutside));
        }
        Stmt::Find { tab, key: self.key(tab), one: self.random.one_in(2), for_update }
    }

    fn prepared(&mut self) -> Stmt {
        let text = |random: &mut Random| random.pick(&TEXTS).to_owned();
        let which = self.random.below(13);
        self.verb(match which {
            0..=5 => Verb::Prepared,
            6..=8 => Verb::PreparedColumns,
            9 | 10 => Verb::PreparedUpdate,
            _ => Verb::PreparedDelete,
        });
        let random = &mut self.random;
        let note = if random.one_in(4) { None } else { Some(text(random)) };
        Stmt::Prepared(match which {
            0 => Prepared::ByEmail { email: random.pick(&EMAILS).into(), min: random.id() - 1 },
            1 => Prepared::ByNote { note },
            2 => Prepared::Joined {
                name: text(random),
                how: random.pick(&[How::All, How::Optional, How::One]),
            },
            3 => Prepared::Subquery { name: text(random) },
            4 => Prepared::Exists { min: random.id() - 1 },
            5 => Prepared::Between { low: random.id(), high: random.id(), id: random.id() },
            6 => Prepared::Columns {
                min: random.id() - 1,
                how: random.pick(&[How::All, How::Optional, How::One]),
            },
            7 => Prepared::Distinct { min: random.id() - 1 },
            8 => Prepared::JoinColumns { name: text(random) },
            9 => Prepared::SetNote { id: random.id(), note },
            10 => Prepared::SetCustomer { name: text(random), customer: random.id() },
            11 => Prepared::Delete { id: random.id() },
            _ => Prepared::DeleteOf { name: text(random) },
        })
    }

    fn refused(&mut self, inside: bool) -> Stmt {
        let refusal = self.random.pick(&[
            Refusal::EmptyBatch,
            Refusal::EmptyPage,
            Refusal::ForeignCursor,
            Refusal::MisplacedCursor,
            Refusal::GarbageCursor,
            Refusal::ForeignSubquery,
            Refusal::ForeignTransaction,
            Refusal::AmbiguousOccurrence,
            Refusal::SetTwice,
            Refusal::SetNothing,
            Refusal::UnknownConflictTarget,
            Refusal::TooDeep,
            Refusal::LoneBackslash,
            Refusal::NulText,
        ]);
        // These begin transactions or read the other organization's pages by themselves.
        if inside && matches!(refusal, Refusal::ForeignCursor | Refusal::ForeignTransaction) {
            return self.find(inside);
        }
        self.saw(Feature::Refused(refusal));
        Stmt::Refused(refusal, self.random.pick(&Tab::OWNED))
    }

    pub fn stmt(&mut self, inside: bool) -> Stmt {
        match self.random.below(20) {
            0..=7 => self.select(inside),
            8 => self.find(inside),
            9..=12 => self.insert(),
            13..=15 => self.update(),
            16 | 17 => self.delete(),
            18 => self.prepared(),
            _ => self.refused(inside),
        }
    }

    fn steps(&mut self, depth: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            if depth > 0 && self.random.one_in(3) {
                let ending = self.random.pick(&[Ending::Keep, Ending::Undo, Ending::Drop]);
                self.verb(match ending {
                    Ending::Keep => Verb::SavepointRelease,
                    Ending::Undo => Verb::SavepointRollback,
                    Ending::Drop => Verb::SavepointDrop,
                });
                steps.push(Step::Savepoint(self.steps(depth - 1), ending));
            } else {
                steps.push(Step::Do(self.stmt(true)));
            }
        }
        steps
    }

    pub fn operation(&mut self) -> Operation {
        match self.random.below(24) {
            0 | 1 => {
                let ending =
                    self.random.pick(&[Ending::Keep, Ending::Keep, Ending::Undo, Ending::Drop]);
                self.verb(match ending {
                    Ending::Keep => Verb::TransactionCommit,
                    Ending::Undo => Verb::TransactionRollback,
                    Ending::Drop => Verb::TransactionDrop,
                });
                Operation::Transaction(self.steps(2), ending)
            }
            2 => {
                self.verb(Verb::Closure);
                let count = 1 + self.random.below(3);
                Operation::Closure((0..count).map(|_| self.stmt(true)).collect())
            }
            3 => {
                self.verb(Verb::PageBegin);
                let from = self.from();
                let mut read = self.read(from, Slot::Page);
                read.limit = None;
                read.offset = None;
                Operation::PageBegin(read, 1 + self.random.below(2) as u32)
            }
            4 => {
                self.verb(Verb::PageNext);
                Operation::PageNext(1 + self.random.below(2) as u32)
            }
            5 if self.random.one_in(2) => {
                if self.random.one_in(2) {
                    self.verb(Verb::Ticket);
                    Operation::Ticket
                } else {
                    self.saw(Feature::Refused(Refusal::ForeignTicket));
                    Operation::ForeignTicket
                }
            }
            6 if self.random.one_in(3) => {
                self.verb(Verb::Suspend);
                Operation::Suspend(self.select(false))
            }
            _ => Operation::Run(self.stmt(false)),
        }
    }

    /// Rows to begin with: parents before children, so that most references hold.
    fn seeds(&mut self) -> Vec<Operation> {
        Tab::OWNED
            .into_iter()
            .flat_map(|tab| {
                let mut rows = Vec::new();
                for id in 1..=3 {
                    let mut row = self.row(tab);
                    row[0] = Cell::Int(id);
                    match tab {
                        Tab::Order => {
                            row[1] = Cell::Int(1 + self.random.below(3) as i64);
                            row[2] = Cell::Text(EMAILS[id as usize - 1].into());
                        }
                        Tab::Line => row[1] = Cell::Int(1 + self.random.below(2) as i64),
                        Tab::Shipment => {
                            row[1] = Cell::Null;
                        }
                        Tab::Employee => {
                            row[2] = if id == 1 {
                                Cell::Null
                            } else {
                                Cell::Int(1 + self.random.below(id as usize - 1) as i64)
                            };
                            row[3] = if id == 1 { Cell::Null } else { Cell::Int(id) };
                        }
                        Tab::Item if row[27] == Cell::Int(5) => row[27] = Cell::Null,
                        _ => {}
                    }
                    rows.push(row);
                }
                let insert = |rows| {
                    Operation::Run(Stmt::Insert {
                        tab,
                        rows,
                        many: true,
                        upsert: None,
                        returning: None,
                    })
                };
                [insert(rows)]
            })
            .collect()
    }

    pub fn program(&mut self, operations: usize) -> Program {
        let mut turns = Vec::new();
        let (mut ours, theirs) = (self.seeds(), self.seeds());
        let seeds = ours.len();
        // What others hold from the start lies before A's first operation.
        let mut before: Vec<(bool, Other)> =
            theirs.into_iter().map(|seed| (true, Other::Does(seed))).collect();
        before.extend(ours.iter().map(|seed| (false, Other::Does(seed.clone()))));
        ours.extend((0..operations).map(|_| self.operation()));
        for (at, ours) in ours.into_iter().enumerate() {
            let mut others = std::mem::take(&mut before);
            if at >= seeds {
                for _ in 0..self.random.below(3) {
                    let marked = self.random.one_in(2);
                    let other = match self.random.below(6) {
                        // What A is about to do, first.
                        0..=2 => Other::Does(ours.clone()),
                        3 if self.random.one_in(3) => {
                            self.verb(Verb::OtherSuspended);
                            Other::Suspended
                        }
                        _ => {
                            let seen = self.seen.len();
                            let operation = self.operation();
                            self.seen.truncate(seen);
                            Other::Does(operation)
                        }
                    };
                    others.push((marked, other));
                }
            }
            turns.push(Turn { others, ours });
        }
        Program { turns }
    }
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

    fn mentions_exists(&self) -> bool {
        self.parts().into_iter().any(F::mentions_exists)
    }
}

impl F {
    fn mentions_exists(&self) -> bool {
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
