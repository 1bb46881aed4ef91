//! A real browser: headless Chromium, spoken to over its debugging pipe (Chrome `DevTools` Protocol).
//!
//! Calls block: a test's body runs on its own thread, and everything it talks to on others. The browser ends with the
//! value, and its pipe with the test, which ends it too.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser.
#[derive(Debug)]
pub struct Chromium {
    pipe: Arc<Mutex<Pipe>>,
    child: Child,
    _home: tempfile::TempDir,
}

#[derive(Debug)]
struct Pipe {
    to: File,
    from: Receiver<Value>,
    calls: u64,
    /// What happened and nobody has asked for yet.
    events: VecDeque<Value>,
}

/// Somebody's browser window: cookies of its own, shared with the windows it opens.
#[derive(Debug, Clone)]
pub struct Person {
    pipe: Arc<Mutex<Pipe>>,
    context: String,
}

/// One page.
#[derive(Debug, Clone)]
pub struct Tab {
    pipe: Arc<Mutex<Pipe>>,
    session: String,
    target: String,
}

impl Chromium {
    /// # Panics
    /// When there is no Chromium: `tests/run` installs it.
    pub fn start() -> Self {
        let home = tempfile::Builder::new().prefix("plugboard-chromium-").tempdir().unwrap();
        let fifo = |name: &str| {
            let path = home.path().join(name);
            let made = Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success(), "mkfifo {}", path.display());
            path
        };
        let (inward, outward) = (fifo("in"), fifo("out"));
        let program = std::env::var("PLUGBOARD_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        // Descriptors 3 and 4 are where the browser expects its pipe.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"in="$1"; out="$2"; shift 2; exec "$@" 3<"$in" 4>"$out""#, "sh"]);
        shell.arg(&inward).arg(&outward).arg(program);
        shell.args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]);
        shell.args(["--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars", "--disable-extensions"]);
        shell.args(["--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb"]);
        shell.arg(format!("--user-data-dir={}", home.path().join("profile").display()));
        let child = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let to = std::fs::OpenOptions::new().write(true).open(&inward).unwrap();
        let from = BufReader::new(File::open(&outward).unwrap());
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for message in from.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let pipe = Pipe { to, from: receiver, calls: 0, events: VecDeque::new() };
        Self { pipe: Arc::new(Mutex::new(pipe)), child, _home: home }
    }

    /// Somebody who has never been here.
    pub fn person(&self) -> Person {
        let made = call(&self.pipe, None, "Target.createBrowserContext", json!({}));
        Person { pipe: self.pipe.clone(), context: made["browserContextId"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Person {
    pub fn tab(&self) -> Tab {
        let wanted = json!({"url": "about:blank", "browserContextId": self.context});
        let made = call(&self.pipe, None, "Target.createTarget", wanted);
        self.attach(made["targetId"].as_str().unwrap())
    }

    fn attach(&self, target: &str) -> Tab {
        let wanted = json!({"targetId": target, "flatten": true});
        let attached = call(&self.pipe, None, "Target.attachToTarget", wanted);
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let tab = Tab { pipe: self.pipe.clone(), session, target: target.to_owned() };
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        tab
    }

    fn targets(&self) -> Vec<String> {
        let all = call(&self.pipe, None, "Target.getTargets", json!({}));
        let ours = |one: &&Value| one["type"] == "page" && one["browserContextId"] == self.context.as_str();
        let found = all["targetInfos"].as_array().unwrap().iter().filter(ours);
        found.map(|one| one["targetId"].as_str().unwrap().to_owned()).collect()
    }

    /// The window that a tab has opened.
    ///
    /// # Panics
    /// When none opens.
    pub fn popup(&self, opener: &Tab) -> Tab {
        let found = patiently("a window opens", || self.targets().into_iter().find(|one| *one != opener.target));
        self.attach(&found)
    }

    /// How many windows are open.
    pub fn windows(&self) -> usize {
        self.targets().len()
    }
}

impl Tab {
    fn call(&self, method: &str, params: Value) -> Value {
        call(&self.pipe, Some(&self.session), method, params)
    }

    /// Goes somewhere and waits until the page is there, wherever redirects have led.
    pub fn open(&self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of an expression, as if a person had caused it.
    ///
    /// # Panics
    /// When it throws.
    pub fn eval(&self, expression: &str) -> Value {
        let reply = self.try_eval(expression).unwrap_or_else(|problem| panic!("{expression}: {problem}"));
        reply["result"]["value"].clone()
    }

    fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true});
        let reply = try_call(&self.pipe, Some(&self.session), "Runtime.evaluate", asked)?;
        match reply.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(reply),
        }
    }

    /// Waits until a condition holds; pages may come and go meanwhile.
    ///
    /// # Panics
    /// When it does not, with the page's text.
    pub fn wait(&self, condition: &str) {
        let began = Instant::now();
        loop {
            // Between two pages there is nothing to ask.
            if self.try_eval(&format!("!!({condition})")).is_ok_and(|reply| reply["result"]["value"] == true) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not: {condition}\n{}\n{}", self.url(), self.text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits for a page of ours with this heading.
    pub fn wait_heading(&self, words: &str) {
        let words = serde_json::to_string(words).unwrap();
        self.wait(&format!(
            "document.readyState === 'complete' && (document.querySelector('h1')?.textContent ?? '').includes({words})"
        ));
    }

    pub fn url(&self) -> String {
        self.eval("location.href").as_str().unwrap().to_owned()
    }

    /// What a person reads.
    pub fn text(&self) -> String {
        self.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    pub fn click(&self, selector: &str) {
        self.on(selector, "element.click()");
    }

    /// A link or button with these words.
    pub fn click_text(&self, words: &str) {
        let words = serde_json::to_string(words).unwrap();
        let clicked = self.eval(&format!(
            "(() => {{ const found = [...document.querySelectorAll('a, button, summary')].find((one) => one.textContent.trim().startsWith({words}) && one.offsetParent !== null); found?.click(); return !!found; }})()"
        ));
        assert_eq!(clicked, true, "nothing says {words}: {}", self.text());
    }

    /// Types into a field, after what is there has been cleared.
    pub fn fill(&self, selector: &str, text: &str) {
        self.on(selector, "element.focus(); element.select()");
        self.call("Input.insertText", json!({"text": text}));
    }

    pub fn press(&self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            let code = if key == "Tab" { 9 } else { 13 };
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if key == "Enter" && kind == "rawKeyDown" {
                event =
                    json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": "\r"});
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    fn on(&self, selector: &str, action: &str) {
        let selector = serde_json::to_string(selector).unwrap();
        let found = self.eval(&format!(
            "(() => {{ const element = document.querySelector({selector}); if (element) {{ {action} }} return !!element; }})()"
        ));
        assert_eq!(found, true, "no {selector} at {}: {}", self.url(), self.text());
    }

    pub fn language(&self, language: &str) {
        self.call("Network.enable", json!({}));
        self.call("Network.setExtraHTTPHeaders", json!({"headers": {"Accept-Language": language}}));
    }

    /// How the page is looked at from here on.
    pub fn look(&self, width: u32, dark: bool) {
        let metrics = json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// The whole page as a picture.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn screenshot(&self, file: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// What axe-core finds, serious and critical only, as rule and place.
    ///
    /// # Panics
    /// When it is not installed: `tests/run` does.
    pub fn axe(&self) -> Vec<String> {
        let script = axe_script();
        let source = std::fs::read_to_string(&script)
            .unwrap_or_else(|error| panic!("{}: {error}; tests/clients/install brings it", script.display()));
        self.eval(&format!("{source}; true"));
        let found = self.eval("axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.filter((one) => ['serious', 'critical'].includes(one.impact)).map((one) => `${one.id}: ${one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')}`))");
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// What the browser has complained of in this tab so far: refused scripts and styles, missing files, thrown errors.
    pub fn complaints(&self) -> Vec<String> {
        self.eval("1");
        let pipe = self.pipe.lock().unwrap();
        let ours = pipe.events.iter().filter(|event| event["sessionId"] == self.session.as_str());
        let complaint = |event: &Value| match event["method"].as_str() {
            Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                Some(event["params"]["entry"].to_string())
            }
            Some("Runtime.exceptionThrown") => Some(event["params"].to_string()),
            _ => None,
        };
        ours.filter_map(complaint).collect()
    }
}

fn axe_script() -> PathBuf {
    crate::stack::repository().join(".tools/clients/node_modules/axe-core/axe.min.js")
}

fn call(pipe: &Mutex<Pipe>, session: Option<&str>, method: &str, params: Value) -> Value {
    try_call(pipe, session, method, params).unwrap_or_else(|problem| panic!("{method}: {problem}"))
}

fn try_call(pipe: &Mutex<Pipe>, session: Option<&str>, method: &str, params: Value) -> Result<Value, String> {
    let mut pipe = pipe.lock().unwrap();
    pipe.calls += 1;
    let id = pipe.calls;
    let mut message = json!({"id": id, "method": method, "params": params});
    if let Some(session) = session {
        message["sessionId"] = json!(session);
    }
    let mut line = message.to_string().into_bytes();
    line.push(0);
    pipe.to.write_all(&line).map_err(|error| format!("the browser is gone: {error}"))?;
    loop {
        let answer = match pipe.from.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => return Err("the browser does not answer".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return Err("the browser is gone".to_owned()),
        };
        if answer["id"] != id {
            pipe.events.push_back(answer);
        } else if let Some(error) = answer.get("error") {
            return Err(error.to_string());
        } else {
            return Ok(answer["result"].clone());
        }
    }
}

fn patiently<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    crate::wait::eventually_blocking(what, PATIENCE, look)
}
