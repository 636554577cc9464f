// A row does not hold its organization; the scope does.

include!("../tables.rs");

fn owner<'a>(order: &'a Order, scope: &'a TenantScope) -> &'a OrganizationId {
    let _ = (order, scope);
    scope.organization()
}

fn main() {}
