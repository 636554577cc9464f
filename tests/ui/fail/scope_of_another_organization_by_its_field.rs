// What a scope holds is not changed.

include!("../tables.rs");

fn retarget(scope: &mut TenantScope) -> OrganizationId {
    scope.organization.clone()
}

fn main() {}
