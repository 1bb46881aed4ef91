//! The stacks that tests share, started when the first one asks.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use plugboard_tests::oauth_provider::Provider;
use plugboard_tests::stack::{Options, Shape, Stack};
use plugboard_tests::vendor::Vendor;
use tokio::runtime::Runtime;

/// A stack and the vendor behind it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) stack: Stack,
    pub(crate) vendor: Vendor,
}

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

pub(crate) fn block_on<F: Future>(body: F) -> F::Output {
    runtime().block_on(body)
}

/// On the shape's sandbox.
pub(crate) fn in_sandbox<F: Future<Output = ()>>(shape: Shape, body: impl FnOnce(&'static Stack) -> F) {
    static EMBEDDED: OnceLock<Option<Stack>> = OnceLock::new();
    static DISTRIBUTED: OnceLock<Option<Stack>> = OnceLock::new();
    let cell = match shape {
        Shape::Embedded => &EMBEDDED,
        Shape::Distributed => &DISTRIBUTED,
    };
    let stack = cell.get_or_init(|| try_start(|| Stack::options(shape).sandbox().start()));
    block_on(body(stack.as_ref().expect("the shared stack did not start; see the first failure")));
}

/// On the shape's shared stack with a vendor.
pub(crate) fn with_vendor<F: Future<Output = ()>>(shape: Shape, body: impl FnOnce(&'static Site) -> F) {
    static EMBEDDED: OnceLock<Option<Site>> = OnceLock::new();
    static DISTRIBUTED: OnceLock<Option<Site>> = OnceLock::new();
    let cell = match shape {
        Shape::Embedded => &EMBEDDED,
        Shape::Distributed => &DISTRIBUTED,
    };
    let site = cell.get_or_init(|| {
        let vendor = block_on(async { Vendor::start() });
        let stack = try_start(|| Stack::options(shape).vendor(&vendor).without_limits().start())?;
        Some(Site { stack, vendor })
    });
    block_on(body(site.as_ref().expect("the shared stack did not start; see the first failure")));
}

/// A stack whose services are authorization servers of the tests, one for each test that sets how it behaves.
#[derive(Debug)]
pub(crate) struct SignInSite {
    pub(crate) stack: Stack,
    providers: BTreeMap<&'static str, Provider>,
    _manifests: tempfile::TempDir,
}

impl SignInSite {
    /// With a provider for each of these services.
    pub(crate) fn start(options: Options, services: &[&'static str]) -> Option<Self> {
        let manifests = tempfile::tempdir().unwrap();
        let folder = manifests.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let mut providers = BTreeMap::new();
        for service in services {
            let provider = block_on(async { Provider::start() });
            let url = provider.url();
            provider.set(|behaviour| {
                behaviour.issuer = Some(url);
                behaviour.rotates = *service != KEEPS;
            });
            std::fs::write(folder.join(format!("{service}.yaml")), provider.manifest(service)).unwrap();
            providers.insert(*service, provider);
        }
        let options = options.connectors(manifests.path()).egress_allow("127.0.0.0/8");
        let stack = try_start(|| options.start())?;
        Some(Self { stack, providers, _manifests: manifests })
    }

    pub(crate) fn provider(&self, service: &str) -> Provider {
        self.providers[service].clone()
    }
}

/// Its refresh tokens work more than once.
pub(crate) const KEEPS: &str = "mock_keeps";

const PROVIDERS: [&str; 8] = [
    "mock_honest",
    "mock_hostile",
    "mock_device",
    "mock_expiry",
    "mock_screen",
    "mock_attacks",
    "mock_gallery",
    "mock_links",
];

/// On the shape's shared stack with authorization servers.
pub(crate) fn with_providers<F: Future<Output = ()>>(shape: Shape, body: impl FnOnce(&'static SignInSite) -> F) {
    static EMBEDDED: OnceLock<Option<SignInSite>> = OnceLock::new();
    static DISTRIBUTED: OnceLock<Option<SignInSite>> = OnceLock::new();
    let cell = match shape {
        Shape::Embedded => &EMBEDDED,
        Shape::Distributed => &DISTRIBUTED,
    };
    let site = cell.get_or_init(|| SignInSite::start(Stack::options(shape), &PROVIDERS));
    block_on(body(site.as_ref().expect("the shared stack did not start; see the first failure")));
}

/// With nothing shared.
pub(crate) fn alone<F: Future<Output = ()>>(shape: Shape, body: impl FnOnce(Shape) -> F) {
    block_on(body(shape));
}

/// A start that failed once is not tried again by every test.
fn try_start(start: impl FnOnce() -> Stack) -> Option<Stack> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(start)) {
        Ok(stack) => Some(stack),
        Err(problem) => {
            let text = problem.downcast_ref::<String>().map_or("it panicked", String::as_str);
            eprintln!("{text}");
            None
        }
    }
}
