//! The real daemon for tests: started, spoken to, killed.

pub mod discord;
pub mod model;
pub mod telegram;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon with a data directory of its own.
pub struct Daemon {
    pub folder: tempfile::TempDir,
    pub url: String,
    login: String,
    child: Option<Child>,
    /// More environment for the daemon itself.
    pub environment: Vec<(String, String)>,
}

/// Starts a program.
#[expect(clippy::disallowed_methods, reason = "tests start the daemon")]
pub fn nexflow(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexflow"));
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("NEXFLOW_CONFIG");
    for key in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "XDG_CONFIG_HOME"] {
        command.env_remove(key);
    }
    command
}

impl Daemon {
    /// Starts with defaults.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// Starts with a configuration; address, data directory and skills are set here.
    pub async fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let skills = Path::new(env!("CARGO_MANIFEST_DIR")).join("skills");
        copy_tree(&skills, &folder.path().join("skills"));
        let mut daemon = Self {
            folder,
            url: String::new(),
            login: String::new(),
            child: None,
            environment: Vec::new(),
        };
        daemon.configure(config);
        daemon.launch().await;
        daemon
    }

    /// Writes the configuration file.
    pub fn configure(&self, config: &str) {
        // Tests kill it more often than a crash loop does.
        let server = if config.contains("server:") {
            ""
        } else {
            "server: { port: 0, safe_mode_after: 0 }\n"
        };
        let base = format!("{server}scheduler: {{ time_zone: UTC }}\n");
        let llm = if config.contains("llm:") {
            ""
        } else {
            "llm: { ollama_url: '' }\n"
        };
        std::fs::write(self.path("config.yml"), format!("{base}{llm}{config}")).unwrap();
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line for this daemon.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = nexflow(args);
        command
            .arg("--config")
            .arg(self.path("config.yml"))
            .current_dir(self.folder.path());
        command
    }

    /// Runs a command to its end.
    pub async fn cli(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    pub async fn cli_ok(&self, args: &[&str]) -> String {
        let output = self.cli(args).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?} failed: {out}{err}");
        out
    }

    /// Starts (again) on the same folder.
    pub async fn launch(&mut self) {
        self.launch_under(&[]).await;
    }

    /// Starts it by another program, which is given its command line.
    pub async fn launch_under(&mut self, wrapper: &[&str]) {
        self.begin(wrapper);
        self.ready().await;
    }

    /// Starts the process and waits for nothing.
    #[expect(clippy::disallowed_methods, reason = "tests start the daemon")]
    pub fn begin(&mut self, wrapper: &[&str]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut command = self.command(&["run"]);
        if let [program, args @ ..] = wrapper {
            let mut wrapped = Command::new(program);
            wrapped
                .args(args)
                .arg(command.get_program())
                .args(command.get_args())
                .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
                .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                .current_dir(self.folder.path())
                .stdin(Stdio::null());
            command = wrapped;
        }
        command
            .envs(self.environment.iter().cloned())
            .stdout(File::create(self.path("out")).unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until it says that it is ready.
    async fn ready(&mut self) {
        let out = self.path("out");
        let began = std::time::Instant::now();
        loop {
            let printed = std::fs::read_to_string(&out).unwrap();
            if let Some(link) = printed.split_whitespace().find(|w| w.contains("/#code=")) {
                let (url, code) = link.split_once("/#code=").unwrap();
                self.url = url.to_owned();
                self.login = code.to_owned();
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "the daemon did not start: {printed}{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Its process id.
    pub fn pid(&self) -> nix::unistd::Pid {
        let id = self.child.as_ref().unwrap().id();
        nix::unistd::Pid::from_raw(i32::try_from(id).unwrap())
    }

    /// Whether the process ended by itself.
    #[cfg(feature = "failpoints")]
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut().unwrap().try_wait().unwrap()
    }

    /// Asks it to stop.
    pub fn signal(&self) {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// Asks it to stop, and waits.
    pub async fn stop(&mut self) {
        self.signal();
        let mut child = self.child.take().unwrap();
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap())
            .await
            .unwrap();
        assert!(status.success(), "it stopped badly: {}", self.log());
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The one-time code of its login link.
    pub fn login_code(&self) -> &str {
        &self.login
    }

    /// A client that shows no credential.
    pub fn stranger(&self) -> Client {
        Client {
            http: http(None),
            base: self.url.clone(),
        }
    }

    /// The owner, over the Unix socket.
    pub fn owner(&self) -> Client {
        Client {
            http: http(Some(&self.path("data/nexflow.sock"))),
            base: "http://nexflow".to_owned(),
        }
    }

    /// Sends a message and waits for the answer.
    pub async fn ask(&self, text: &str) -> Value {
        self.owner()
            .post("/api/v1/chat", json!({ "message": text }))
            .await
            .ok()
    }

    /// A WebSocket of the owner.
    pub async fn socket(&self, session: &str, after: Option<i64>) -> Socket {
        let token = self
            .cli_ok(&["token", "create", "--name", "socket", "--role", "owner"])
            .await;
        let after = after.map(|n| format!("?after={n}")).unwrap_or_default();
        let url = format!(
            "{}/ws/chat/{session}{after}",
            self.url.replacen("http", "ws", 1)
        );
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", token.trim());
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        let (stream, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let mut socket = Socket {
            stream,
            session: String::new(),
        };
        let opened = socket.until("session.opened").await;
        socket.session = string(&opened, "session_id");
        socket
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

/// A WebSocket that speaks frames.
pub struct Socket {
    stream: tokio_tungstenite::WebSocketStream<
        tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>,
    >,
    pub session: String,
}

impl Socket {
    pub async fn send(&mut self, frame: Value) {
        self.stream
            .send(tungstenite::Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    pub async fn say(&mut self, text: &str, client_id: &str) {
        self.send(json!({ "type": "message", "text": text, "client_id": client_id }))
            .await;
    }

    /// The next frame; none when the connection ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            match next.expect("no frame came") {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).unwrap());
                }
                Some(Ok(tungstenite::Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Frames up to the first of a type, and that one.
    pub async fn until(&mut self, kind: &str) -> Value {
        self.all_until(kind).await.pop().unwrap()
    }

    pub async fn all_until(&mut self, kind: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let frame = self
                .next()
                .await
                .unwrap_or_else(|| panic!("no {kind} in {seen:?}"));
            let done = frame["type"] == kind;
            seen.push(frame);
            if done {
                return seen;
            }
        }
    }
}

/// An HTTP client of one daemon.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

#[expect(clippy::disallowed_methods, reason = "tests make their own clients")]
fn http(socket: Option<&Path>) -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE * 2);
    match socket {
        Some(path) => builder.unix_socket(path).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

/// An answer of the daemon.
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The body of an answer that must be a success.
    pub fn ok(&self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            self.body
        );
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The code of an answer that must be an error in the format of the API.
    pub fn error(&self) -> String {
        let body = self.json();
        let error = &body["error"];
        for key in ["message", "request_id", "timestamp"] {
            assert!(error[key].is_string(), "{key} is missing: {body}");
        }
        assert!(error["details"].is_object());
        string(error, "code")
    }
}

impl Client {
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let answer = request.send().await.unwrap();
        Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.text().await.unwrap(),
        }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request("POST", path).json(&body)).await
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A string of a JSON object.
pub fn string(value: &Value, key: &str) -> String {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
        .to_owned()
}

/// Waits until something holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = std::time::Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A skill in a daemon's folder.
pub fn write_skill(folder: &Path, name: &str, frontmatter: &str, script: (&str, &str)) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder.join("skills").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(script.0);
    std::fs::write(&path, script.1).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let manifest = format!(
        "---\nname: {name}\ndescription: A skill of a test\nlocation: ./{}\n{frontmatter}---\n\n# {name}\n",
        script.0
    );
    std::fs::write(dir.join("SKILL.md"), manifest).unwrap();
}
