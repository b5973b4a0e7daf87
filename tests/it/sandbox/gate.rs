//! The egress gate, through real programs: what is granted gets out, and nothing else.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nexflow::sandbox::{Config, Egress, Job, Lock, Mode, Network, Resolve, Rule, Sandbox};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{bash, config, err, forced, out};

/// A server on the host's loopback that answers every request with its own first line.
struct Server {
    port: u16,
    seen: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let count = seen.clone();
        tasks.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                drop(answer(client).await);
            }
        });
        Self {
            port,
            seen,
            _tasks: tasks,
        }
    }

    fn rule(&self) -> Rule {
        Rule::parse(&format!(":127.0.0.1:{}", self.port)).unwrap()
    }
}

async fn answer(mut client: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let (body, _) = head.split_once("Connection").unwrap_or((&head, ""));
    let body = body.replace("\r\n", " ");
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    // Closing on unread bytes would cut the answer off.
    client.read_to_end(&mut Vec::new()).await.map(drop)
}

#[derive(Debug)]
struct Names(Vec<(&'static str, Vec<IpAddr>)>);

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, addresses)| addresses.clone())
            .ok_or_else(|| io::Error::other("no such name"))
    }
}

fn names() -> Arc<Names> {
    let ip = |text: &str| text.parse().unwrap();
    Arc::new(Names(vec![
        ("inside.example.org", vec![ip("127.0.0.1")]),
        (
            "mixed.example.org",
            vec![ip("93.184.216.34"), ip("10.0.0.1")],
        ),
        ("mapped.example.org", vec![ip("::ffff:127.0.0.1")]),
        ("empty.example.org", vec![]),
        ("mail.example.org", vec![ip("127.0.0.1")]),
        ("good.example.org", vec![ip("127.0.0.1")]),
    ]))
}

async fn through(base: Config, rules: Vec<Rule>, mut job: Job) -> (String, Vec<Egress>) {
    let (sender, mut records) = mpsc::channel(64);
    let config = Config {
        egress: Some(sender),
        resolver: Some(names()),
        ..base
    };
    job.network = Network::Gate(rules.into());
    "gated".clone_into(&mut job.label);
    let outcome = Sandbox::new(config)
        .run(job, &CancellationToken::new())
        .await
        .unwrap();
    let mut all = Vec::new();
    while let Ok(Some(record)) = timeout(Duration::from_millis(300), records.recv()).await {
        all.push(record);
    }
    (out(&outcome) + &err(&outcome), all)
}

fn curl(arguments: &str) -> Job {
    bash(&format!("curl -sS -m 5 {arguments}; echo \" [$?]\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_gets_out() {
    for mode in [Mode::Full, Mode::Degraded] {
        let server = Server::new().await;
        let job = curl(&format!("http://127.0.0.1:{}/path?q", server.port));
        let (said, records) = through(forced(mode), vec![server.rule()], job).await;
        let expected = format!("GET /path?q HTTP/1.1 Host: 127.0.0.1:{} ", server.port);
        assert!(
            said.starts_with(&expected) && said.trim_end().ends_with("[0]"),
            "{said}"
        );
        assert_eq!(records.len(), 1);
        let record = &records[0];
        assert!(
            record.allowed && record.bytes_up > 50 && record.bytes_down > 50,
            "{record:?}"
        );
        assert_eq!((record.label.as_str(), record.port), ("gated", server.port));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_clients_find_the_gate() {
    let server = Server::new().await;
    let url = format!("http://127.0.0.1:{}/x", server.port);
    let tunnel = format!("curl -sS -p -m 5 {url}");
    let script =
        format!("python3 -c \"import urllib.request as r; print(r.urlopen('{url}').read())\"");
    let git = format!(
        "git ls-remote http://127.0.0.1:{}/r 2>&1 | head -3",
        server.port
    );
    for script in [tunnel, script, git] {
        let before = server.seen.load(Ordering::SeqCst);
        let (said, records) = through(config(), vec![server.rule()], bash(&script)).await;
        assert!(
            server.seen.load(Ordering::SeqCst) > before,
            "{script}: {said}"
        );
        assert!(records.iter().all(|r| r.allowed), "{records:?}");
    }
}

fn refused(port: u16, other: u16) -> Vec<(String, String)> {
    vec![
        // The address is granted, but not by this name.
        (
            format!(":127.0.0.1:{port}"),
            format!("http://inside.example.org:{port}/"),
        ),
        (String::new(), format!("http://127.0.0.1:{port}/")),
        (String::new(), "http://127.0.0.1/".to_owned()),
        (
            format!(":127.0.0.1:{other}"),
            format!("http://127.0.0.1:{port}/"),
        ),
        (
            ":*.example.org:*".to_owned(),
            format!("http://inside.example.org:{port}/"),
        ),
        (
            ":*.example.org:*".to_owned(),
            format!("http://mapped.example.org:{port}/"),
        ),
        (
            ":*.example.org:*".to_owned(),
            format!("http://mixed.example.org:{port}/"),
        ),
        (
            ":*.example.org:*".to_owned(),
            format!("http://empty.example.org:{port}/"),
        ),
        (
            ":*.example.org:*".to_owned(),
            format!("http://unknown.example.org:{port}/"),
        ),
        (
            ":*.example.org:*".to_owned(),
            format!("http://example.org:{port}/"),
        ),
        (
            ":127.0.0.1:*".to_owned(),
            format!("http://localhost:{port}/"),
        ),
        (
            ":127.0.0.1:*".to_owned(),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
        ),
        (
            ":10.0.0.0/8:*".to_owned(),
            format!("http://127.0.0.1:{port}/"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_does_not_get_out() {
    let server = Server::new().await;
    let other = Server::new().await;
    let port = server.port;
    for (rule, url) in refused(port, other.port) {
        for way in ["", "-p "] {
            let job = curl(&format!(
                "--noproxy '' -o /dev/null -w '%{{http_code}} %{{http_connect}}' {way}'{url}'"
            ));
            let (said, records) = through(config(), vec![Rule::parse(&rule).unwrap()], job).await;
            let refused = ["400", "403", "502"].iter().any(|code| said.contains(code));
            assert!(refused, "network{rule} {way}{url}: {said}");
            assert!(
                !records.is_empty() && records.iter().all(|r| !r.allowed),
                "{records:?}"
            );
        }
    }
    assert_eq!(server.seen.load(Ordering::SeqCst), 0);
    assert_eq!(other.seen.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_may_lead_to_what_is_granted_literally() {
    let server = Server::new().await;
    let rules = vec![Rule::parse(":inside.example.org:*").unwrap(), server.rule()];
    let job = curl(&format!("http://inside.example.org:{}/", server.port));
    let (said, _) = through(config(), rules, job).await;
    assert!(
        said.contains(&format!("Host: inside.example.org:{}", server.port)),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_announced_body_goes_out() {
    let server = Server::new().await;
    let script = format!(
        "exec 9<>/dev/tcp/127.0.0.1/3128
        printf 'POST http://127.0.0.1:{0}/a HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\nokGET /smuggled HTTP/1.1\\r\\n\\r\\n' >&9
        timeout 2 cat <&9",
        server.port
    );
    let (said, records) = through(config(), vec![server.rule()], bash(&script)).await;
    assert!(
        said.contains("POST /a") && !said.contains("smuggled"),
        "{said}"
    );
    assert_eq!(records.len(), 1);
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
        server.port
    );
    assert_eq!(records[0].bytes_up, head.len() as u64 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_program_has_no_other_way_out() {
    let server = Server::new().await;
    let script = format!(
        "exec 9<>/dev/tcp/127.0.0.1/{0} && echo ESCAPED
        curl --noproxy '*' -m 2 http://127.0.0.1:{0}/ && echo ESCAPED
        python3 -c \"import socket; socket.gethostbyname('example.org'); print('ESCAPED')\"
        python3 -c \"import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('1.1.1.1', 53)); print('ESCAPED')\"
        echo tried",
        server.port
    );
    for mode in [Mode::Full, Mode::Degraded] {
        let (said, _) = through(forced(mode), vec![Rule::Public], bash(&script)).await;
        assert!(
            said.contains("tried") && !said.contains("ESCAPED"),
            "{mode:?} {said}"
        );
    }
    assert_eq!(server.seen.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_is_the_runs_own() {
    let server = Server::new().await;
    let script = format!(
        "python3 -c \"
import socket, threading
s = socket.socket(); s.bind(('127.0.0.1', 8000)); s.listen()
c = socket.create_connection(('127.0.0.1', 8000)); print('own')
try: socket.create_connection(('127.0.0.1', {})); print('ESCAPED')
except OSError: print('tried')\"",
        server.port
    );
    let mut job = bash(&script);
    job.network = Network::Loopback;
    let outcome = super::run(job).await;
    assert_eq!(out(&outcome), "own\ntried\n", "{}", err(&outcome));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_and_the_own_loopback_go_together() {
    let server = Server::new().await;
    let script = format!(
        "python3 -c \"
import socket
s = socket.socket(); s.bind(('127.0.0.1', 8000)); s.listen()
c = socket.create_connection(('127.0.0.1', 8000)); print('own')\"
        curl -sS http://127.0.0.1:{}/both",
        server.port
    );
    let rules = vec![server.rule(), Rule::Loopback];
    let (said, _) = through(config(), rules, bash(&script)).await;
    assert!(said.starts_with("own\nGET /both"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_has_a_limit() {
    let server = Server::new().await;
    let base = Config {
        max_egress_mb: 1,
        ..config()
    };
    let job = curl(&format!(
        "-o /dev/null --data-binary @- http://127.0.0.1:{}/",
        server.port
    ));
    let mut job = job;
    job.stdin = vec![b'x'; 3 << 20];
    let (_, records) = through(base, vec![server.rule()], job).await;
    assert!(records.iter().all(|r| r.bytes_up <= 1 << 20), "{records:?}");
}

/// Whether a program without a network namespace reaches somebody else at the gate's port.
async fn reaches_the_gates_port_elsewhere(config: Config) -> bool {
    let script = "
import os, socket, sys, time
port = int(os.environ['HTTPS_PROXY'].rsplit(':', 1)[1])
print(port, flush=True)
sys.stdin.read()
time.sleep(0.5)
try:
    s = socket.create_connection(('127.0.0.2', port), 2); s.sendall(b'secret'); s.close()
except OSError as e: print(e)";
    let (live, mut said) = mpsc::channel(16);
    let job = Job {
        network: Network::Gate(vec![Rule::parse(":api.example.org:443").unwrap()].into()),
        live: Some(live),
        ..Job::new(["/usr/bin/python3", "-c", script])
    };
    let never = CancellationToken::new();
    let sandbox = Sandbox::new(config);
    let run = sandbox.run(job, &never);
    let other = async {
        let port = String::from_utf8(said.recv().await.unwrap().text).unwrap();
        let port: u16 = port.trim().parse().unwrap();
        let other = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        timeout(Duration::from_secs(3), other.accept())
            .await
            .is_ok()
    };
    let (outcome, reached) = tokio::join!(run, other);
    outcome.unwrap();
    reached
}

#[tokio::test]
async fn without_a_namespace_every_connection_is_the_gates() {
    assert!(!reaches_the_gates_port_elsewhere(forced(Mode::Degraded)).await);
    let without = Config {
        without: vec![Lock::Seccomp],
        ..forced(Mode::Degraded)
    };
    assert!(reaches_the_gates_port_elsewhere(without).await);
}

/// Says what it gets, after a greeting: a protocol in which the server speaks first.
async fn greeter() -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            client.write_all(b"220 hello\n").await.unwrap();
            let mut line = [0; 64];
            let count = client.read(&mut line).await.unwrap_or(0);
            client.write_all(&line[..count]).await.ok();
        }
    });
    (port, tasks)
}

#[tokio::test]
async fn a_granted_port_is_reached_without_a_proxy() {
    let (port, _greeter) = greeter().await;
    let script = format!(
        "
import socket
for host in ['mail.example.org', '127.0.0.1']:
    s = socket.create_connection((host, {port}), 5); print(s.recv(100)); s.sendall(b'ping\\n')
    print(host, s.recv(100))
for host, port in [('mail.example.org', 1), ('127.0.0.2', {port}), ('other.example.org', {port}), ('1.1.1.1', 443)]:
    try: socket.create_connection((host, port), 2); print('ESCAPED', host)
    except OSError as e: pass"
    );
    let rules = [
        format!(":mail.example.org:{port}"),
        format!(":127.0.0.1:{port}"),
    ];
    let rules = rules.iter().map(|r| Rule::parse(r).unwrap()).collect();
    let job = Job::new(["/usr/bin/python3", "-c", &script]);
    let (said, records) = through(forced(Mode::Full), rules, job).await;
    assert_eq!(said.matches("ping").count(), 2, "{said}");
    assert!(!said.contains("ESCAPED"), "{said}");
    let allowed: Vec<(&str, bool)> = records
        .iter()
        .map(|r| (r.host.as_str(), r.allowed))
        .collect();
    assert_eq!(allowed, [("mail.example.org", true), ("127.0.0.1", true)]);
}

/// A name that points somewhere private is refused at a forward as everywhere.
#[tokio::test]
async fn a_forward_does_not_lead_to_a_private_address() {
    let (port, _greeter) = greeter().await;
    let script = format!(
        "
import socket
s = socket.create_connection(('mail.example.org', {port}), 5)
print('got', s.recv(100))"
    );
    let rules = vec![Rule::parse(&format!(":mail.example.org:{port}")).unwrap()];
    let job = Job::new(["/usr/bin/python3", "-c", &script]);
    let (said, records) = through(forced(Mode::Full), rules, job).await;
    assert!(said.contains("got b''"), "{said}");
    assert!(
        records
            .iter()
            .all(|r| !r.allowed && r.reason.contains("not public")),
        "{records:?}"
    );
}

/// A name in TLS that is not the one that was asked for leads to another site of the same server.
#[tokio::test]
async fn another_name_in_tls_is_refused() {
    let server = Server::new().await;
    let port = server.port;
    let script = format!(
        "
import os, socket, ssl
proxy = int(os.environ['HTTPS_PROXY'].rsplit(':', 1)[1])
context = ssl._create_unverified_context()
asked = ['good.example.org', 'good.example.org', '127.0.0.1', '127.0.0.1']
named = ['evil.example.org', 'good.example.org', 'good.example.org', '127.0.0.1']
for host, name in zip(asked, named):
    s = socket.create_connection(('127.0.0.1', proxy), 5)
    s.sendall(f'CONNECT {{host}}:{port} HTTP/1.1\\r\\n\\r\\n'.encode())
    assert b' 200 ' in s.recv(1000)
    try: context.wrap_socket(s, server_hostname=name)
    except OSError as e: print(name, e)"
    );
    let rules = [":good.example.org:PORT", ":127.0.0.1:PORT"];
    let rules = rules
        .iter()
        .map(|r| Rule::parse(&r.replace("PORT", &port.to_string())).unwrap());
    let job = Job::new(["/usr/bin/python3", "-c", &script]);
    let (said, records) = through(forced(Mode::Full), rules.collect(), job).await;
    let found: Vec<(bool, bool)> = records
        .iter()
        .map(|r| (r.allowed, r.bytes_up > 0))
        .collect();
    let (refused, passed) = ((false, false), (true, true));
    assert_eq!(
        found,
        [refused, passed, refused, passed],
        "{said} {records:?}"
    );
    for (record, name) in [(0, "evil.example.org"), (2, "good.example.org")] {
        assert!(records[record].reason.contains(name), "{records:?}");
    }
}
