//! What a request is called: its trace and its version.

use super::Api;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn an_answer_says_in_which_trace_it_was_given() {
    let api = Api::start().await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let given = [("traceparent", parent.as_str()), ("tracestate", "vendor=opaque")];
    for path in ["/healthz", "/api/v1/chains", "/nowhere"] {
        let answer = api.get_with(path, &given).await;
        let response = answer.headers["traceresponse"].to_str().unwrap();
        assert!(response.starts_with(&format!("00-{TRACE}-")) && response.ends_with("-01"), "{response}");
        assert_ne!(response, parent, "the span is our own");
        assert_eq!(answer.headers["traceparent"], response);
        assert_eq!(answer.headers["tracestate"], "vendor=opaque");
    }
    let answer = api.get_with("/healthz", &[("traceparent", "00-nonsense")]).await;
    let response = answer.headers["traceresponse"].to_str().unwrap();
    assert_eq!((response.len(), response.contains(TRACE)), (55, false), "{response}");
}

#[tokio::test]
async fn a_version_that_is_not_served_is_refused_with_those_that_are() {
    let api = Api::followed().await;
    for path in ["/api/v1/chains", "/healthz"] {
        for headers in [&[][..], &[("api-version", "1")]] {
            let answer = api.get_with(path, headers).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.headers["api-version"]),
                (200, &"1".parse().unwrap())
            );
        }
    }
    for (path, version) in
        [("/healthz", "2"), ("/api/v1/chains", "2"), ("/api/v2/chains", "1"), ("/api/v2/chains", "2")]
    {
        let answer = api.get_with(path, &[("api-version", version)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.kind().as_str()),
            (400, "invalid-api-version"),
            "{path} {version}"
        );
        assert!(
            answer.json()["remedy"].as_str().unwrap().starts_with("known versions: 1;"),
            "{}",
            answer.body
        );
    }
    let problem = api.problem("/api/v2/chains", 400, "invalid-api-version").await;
    insta::with_settings!({sort_maps => true}, { insta::assert_json_snapshot!("invalid_api_version", problem) });
}
