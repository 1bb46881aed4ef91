//! The door for internal services.

use std::time::Duration;

use plugboard_proto::gateway::v1::execution_client::ExecutionClient;
use plugboard_proto::gateway::v1::{DescribeServiceRequest, ErrorCode, ExecuteRequest, ListServicesRequest, State};
use plugboard_tests::tenant::{Tenant, unique};
use plugboard_tests::vendor::Answer;
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::shared::Site;

async fn channel(site: &Site) -> Channel {
    let url = site.stack.ready()["grpc_url"].as_str().unwrap().to_owned();
    Channel::from_shared(url).unwrap().connect().await.unwrap()
}

async fn client(site: &Site) -> ExecutionClient<Channel> {
    ExecutionClient::new(channel(site).await).max_decoding_message_size(32 << 20)
}

fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

fn read() -> ExecuteRequest {
    ExecuteRequest {
        service: "hubspot".into(),
        module: "crm".into(),
        method: "GET".into(),
        path: "/crm/v3/owners".into(),
        query_json: br#"{"limit":2}"#.to_vec(),
        ..ExecuteRequest::default()
    }
}

fn write(name: &str) -> ExecuteRequest {
    ExecuteRequest {
        method: "POST".into(),
        path: "/crm/v3/objects/deals".into(),
        query_json: Vec::new(),
        body_json: Some(json!({"properties": {"dealname": name}}).to_string().into_bytes()),
        ..read()
    }
}

pub(crate) async fn the_same_calls_over_grpc(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "Shop", &site.vendor).await;
    let (_, key) = tenant.rest().issue(&["connector:gateway", "write:tools"]).await;
    let mut grpc = client(site).await;

    let listed = grpc.list_services(with_key(&key, ListServicesRequest::default())).await.unwrap().into_inner();
    let hubspot = listed.services.iter().find(|service| service.key == "hubspot").unwrap();
    assert!(hubspot.connected && hubspot.category == "crm" && !hubspot.name.is_empty(), "{hubspot:?}");
    let only = ListServicesRequest { connected: Some(true), ..ListServicesRequest::default() };
    assert_eq!(grpc.list_services(with_key(&key, only)).await.unwrap().into_inner().services.len(), 1);

    let describe = DescribeServiceRequest { service: "hubspot".into(), module: "crm".into() };
    let passport = grpc.describe_service(with_key(&key, describe)).await.unwrap().into_inner().passport_json;
    let over_mcp = tenant.mcp().tool("describe_service", json!({"service": "hubspot", "module": "crm"})).await;
    assert_eq!(serde_json::from_slice::<Value>(&passport).unwrap(), over_mcp.structured);
    let unknown = DescribeServiceRequest { service: "hubspo".into(), ..DescribeServiceRequest::default() };
    assert_eq!(grpc.describe_service(with_key(&key, unknown)).await.unwrap_err().code(), Code::NotFound);

    site.vendor.on(&account.mark, Answer::json(200, &json!({"results": [], "id": "9"})));
    let answer = grpc.execute(with_key(&key, read())).await.unwrap().into_inner();
    let envelope: Value = serde_json::from_slice(&answer.envelope_json).unwrap();
    assert!(answer.ok, "{envelope}");
    assert_eq!((answer.state(), answer.code()), (State::Succeeded, ErrorCode::Unspecified));
    assert_eq!(envelope["execution_id"], answer.execution_id.as_str());
    assert_eq!(envelope["data"]["id"], "9");
    let seen = site.vendor.only(&account.mark);
    assert_eq!(seen.query, [("limit".to_owned(), "2".to_owned())]);

    // What is wrong with a call is an answer, not a status.
    let wrong = ExecuteRequest { query_json: br#"{"limit":"many"}"#.to_vec(), ..read() };
    let answer = grpc.execute(with_key(&key, wrong)).await.unwrap().into_inner();
    let envelope: Value = serde_json::from_slice(&answer.envelope_json).unwrap();
    assert_eq!((answer.ok, answer.state(), answer.code()), (false, State::Failed, ErrorCode::InvalidArgument));
    assert_eq!(envelope["error"]["field"], "query.limit");

    // A handle, and how it ended.
    let name = unique();
    let handle = ExecuteRequest { wait_ms: Some(0), ..write(&name) };
    let handle = grpc.execute(with_key(&key, handle)).await.unwrap().into_inner();
    assert_eq!(handle.state(), State::Running);
    let look = ExecuteRequest { execution_id: handle.execution_id.clone(), ..ExecuteRequest::default() };
    let ended = eventually("the call ends", Duration::from_secs(20), || {
        let (mut grpc, request) = (grpc.clone(), with_key(&key, look.clone()));
        async move {
            let answer = grpc.execute(request).await.unwrap().into_inner();
            (answer.state() != State::Running).then_some(answer)
        }
    })
    .await;
    assert_eq!((ended.ok, ended.execution_id.as_str()), (true, handle.execution_id.as_str()));
    assert_eq!(site.vendor.count(&name), 1);
}

pub(crate) async fn grpc_wants_its_own_scope(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let account = tenant.connect("hubspot", "Shop", &site.vendor).await;
    let mut grpc = client(site).await;
    let (_, tools) = tenant.rest().issue(&["write:tools"]).await;
    let status = grpc.execute(with_key(&tools, read())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains("connector:gateway"), "{status}");
    let (_, gateway) = tenant.rest().issue(&["connector:gateway"]).await;
    let status = grpc.execute(with_key(&gateway, read())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    for key in ["sk-org-garbled", "", site.stack.operator_key()] {
        let status = grpc.execute(with_key(key, read())).await.unwrap_err();
        assert!(matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied), "{status}");
    }
    let status = grpc.execute(Request::new(read())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert_eq!(site.vendor.count(&account.mark), 0);
}

pub(crate) async fn health_and_reflection(site: &Site) {
    let channel = channel(site).await;
    for service in ["", "plugboard.gateway.v1.Execution"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let request = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = futures::stream::iter([
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol("plugboard.gateway.v1.Execution".to_owned())),
    ]);
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers = reflection.server_reflection_info(questions).await.unwrap().into_inner();
    let listed = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = listed.message_response else { panic!("{listed:?}") };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"plugboard.gateway.v1.Execution"), "{names:?}");
    // What is inside stays inside.
    assert!(
        !names.iter().any(|name| name.starts_with("plugboard.") && !name.starts_with("plugboard.gateway.")),
        "{names:?}"
    );
    let file = answers.message().await.unwrap().unwrap();
    assert!(matches!(file.message_response, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
}
