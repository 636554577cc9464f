// A statement does not outlive its scope.

include!("../tables.rs");

async fn orders_of(
    organization: OrganizationId,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
    db: &Database,
) -> Result<Vec<Order>> {
    let scope = issuer.enter(ann, organization).await?;
    let select = Order::select(&scope);
    select.fetch_all(db).await
}

fn main() {}
