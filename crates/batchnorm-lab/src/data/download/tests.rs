//! Downloads, from a server on this machine that does what servers do.

use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::DownloadProgress;
use super::super::checksum::{Checksums, Hashing};
use super::super::published::Sha256Of;
use super::*;

/// What a server does with a connection, once it has read the request.
enum Answer {
    /// Sends these bytes and closes.
    Send(Vec<u8>),
    /// Sends these bytes and falls silent.
    Stall(Vec<u8>),
}

/// A server that keeps the requests it got.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `answer` is told the number of the request, from 0, and where it wants the file to begin.
    fn new(answer: impl Fn(usize, Option<usize>) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::<String>::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (kept, told) = (requests.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let request = request(&stream);
                let range = request.lines().find_map(|line| {
                    line.to_lowercase().strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok()
                });
                let number = kept.lock().unwrap().len();
                kept.lock().unwrap().push(request);
                match answer(number, range) {
                    Answer::Send(bytes) => {
                        // A client that has heard enough may have gone.
                        let _ = stream.write_all(&bytes);
                        let _ = stream.shutdown(Shutdown::Write);
                    }
                    Answer::Stall(bytes) => {
                        let _ = stream.write_all(&bytes);
                        silent.push(stream);
                    }
                }
            }
        });
        Self { url, requests, over, thread: Some(thread) }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://").trim_end_matches('/'));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn request(stream: &TcpStream) -> String {
    let mut text = String::new();
    for line in BufReader::new(stream).lines() {
        match line {
            Ok(line) if !line.is_empty() => text += &format!("{line}\n"),
            _ => break,
        }
    }
    text
}

fn response(status: &str, headers: &[String], body: &[u8]) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    [format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    response("200 OK", &[format!("Content-Length: {}", body.len())], body)
}

/// As a server that knows ranges answers.
fn ranged(body: &[u8], from: Option<usize>) -> Vec<u8> {
    let Some(from) = from else { return ok(body) };
    if from >= body.len() {
        return response("416 Range Not Satisfiable", &["Content-Length: 0".to_owned()], &[]);
    }
    let range = format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len());
    response("206 Partial Content", &[range, format!("Content-Length: {}", body.len() - from)], &body[from..])
}

/// The answer cut off, so many bytes before its end.
fn cut(mut answer: Vec<u8>, missing: usize) -> Vec<u8> {
    answer.truncate(answer.len() - missing);
    answer
}

/// Everything that progress was told of, a line each.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(text))
    }

    fn received(&self) -> u64 {
        let lines = self.0.lock().unwrap();
        lines.iter().filter_map(|line| line.strip_prefix("received ")?.parse::<u64>().ok()).sum()
    }
}

impl DownloadProgress for Log {
    fn started(&mut self, file: &str, total: Option<u64>, already: u64) {
        self.add(format!("started {file} {total:?} {already}"));
    }
    fn received(&mut self, bytes: u64) {
        self.add(format!("received {bytes}"));
    }
    fn retrying(&mut self, file: &str, cause: &str) {
        self.add(format!("retrying {file} {cause}"));
    }
    fn verifying(&mut self, file: &str) {
        self.add(format!("verifying {file}"));
    }
    fn finished(&mut self) {
        self.add("finished".to_owned());
    }
    fn rejected(&mut self, file: &Path, cause: &str) {
        self.add(format!("rejected {} {cause}", file.display()));
    }
    fn waiting(&mut self, _folder: &Path) {
        self.add("waiting".to_owned());
    }
}

const NAME: &str = "images.gz";

fn body() -> Vec<u8> {
    (0..100_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

fn published(body: &[u8]) -> PublishedFile {
    let mut hashing = Hashing::new(body);
    io::copy(&mut hashing, &mut io::sink()).unwrap();
    PublishedFile { name: NAME, size: None, sha256: Sha256Of::File(hashing.checksum().leak()) }
}

/// A folder to download to, and what came of it.
struct Trial {
    folder: tempfile::TempDir,
    log: Log,
    file: PublishedFile,
    /// Long, lest a busy machine look like a silent server.
    silence: Duration,
}

impl Trial {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            log: Log::default(),
            file: published(&body()),
            silence: Duration::from_secs(30),
        }
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join(format!("{NAME}.part"))
    }

    fn whole(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }

    /// The bytes downloaded, or what went wrong with each mirror.
    fn fetch(&self, mirrors: &[&str]) -> Result<Vec<u8>, Vec<String>> {
        let mut log = self.log.clone();
        let mut access = Access::online(self.folder.path(), &mut log);
        access.patience = Patience { attempts: 3, pause: Duration::from_millis(1), silence: self.silence };
        let mirrors: Vec<String> = mirrors.iter().map(ToString::to_string).collect();
        let verified = |path: &Path| {
            let bytes = fs::read(path).unwrap();
            let mut hashing = Hashing::new(&bytes[..]);
            io::copy(&mut hashing, &mut io::sink()).unwrap();
            let checksums = Checksums { file: hashing.checksum(), contents: String::new() };
            self.file.verify(path, &checksums).map(|()| bytes)
        };
        fetch(&self.file, self.folder.path(), &mirrors, &mut access, &verified).unwrap()
    }

    #[track_caller]
    fn fetches(&self, mirrors: &[&str]) {
        assert!(self.fetch(mirrors).unwrap() == body());
        assert!(fs::read(self.whole()).unwrap() == body());
        assert!(!self.part().exists());
        assert!(self.log.has("finished"));
    }

    #[track_caller]
    fn fails(&self, mirrors: &[&str]) -> String {
        let causes = self.fetch(mirrors).map(|_| ()).unwrap_err();
        assert_eq!(causes.len(), mirrors.len(), "{causes:?}");
        assert!(!self.whole().exists());
        causes.join("\n")
    }
}

#[test]
fn a_file_is_downloaded_verified_and_put_in_its_place() {
    let server = Server::new(|_, range| Answer::Send(ranged(&body(), range)));
    let trial = Trial::new();
    trial.fetches(&[&server.url]);
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert!(request.starts_with(&format!("GET /{NAME} HTTP/1.1")), "{request}");
    assert!(request.to_lowercase().contains("accept-encoding: identity"), "{request}");
    assert!(!request.to_lowercase().contains("range:"), "{request}");
    assert!(trial.log.has(&format!("started {NAME} Some(400000) 0")));
    assert!(trial.log.has("verifying"));
    assert_eq!(trial.log.received(), 400_000);
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let server = Server::new(|number, range| {
        let answer = ranged(&body(), range);
        Answer::Send(if number < 5 { cut(answer, 300_000 - number * 50_000) } else { answer })
    });
    let trial = Trial::new();
    // Five interruptions, with patience for three without progress.
    trial.fetches(&[&server.url]);
    let requests = server.requests();
    assert!(requests[1].to_lowercase().contains("range: bytes="), "{}", requests[1]);
    assert!(trial.log.has("retrying"));
    assert_eq!(trial.log.received(), 400_000);
}

#[test]
fn another_run_goes_on_where_the_last_one_was_stopped() {
    let server = Server::new(|_, range| Answer::Send(ranged(&body(), range)));
    let trial = Trial::new();
    fs::write(trial.part(), &body()[..123_456]).unwrap();
    trial.fetches(&[&server.url]);
    assert!(trial.log.has(&format!("started {NAME} Some(400000) 123456")));
    assert_eq!(trial.log.received(), 400_000 - 123_456);
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let server = Server::new(|number, _| Answer::Send(cut(ok(&body()), if number == 0 { 100_000 } else { 0 })));
    let trial = Trial::new();
    trial.fetches(&[&server.url]);
    assert_eq!(server.requests().len(), 2);
    assert!(server.requests()[1].to_lowercase().contains("range: bytes="));
}

#[test]
fn a_part_that_was_already_whole_is_taken() {
    let server = Server::new(|_, range| Answer::Send(ranged(&body(), range)));
    let trial = Trial::new();
    fs::write(trial.part(), body()).unwrap();
    trial.fetches(&[&server.url]);
    let trial = Trial { file: PublishedFile { size: Some(400_000), ..published(&body()) }, ..Trial::new() };
    fs::write(trial.part(), body()).unwrap();
    trial.fetches(&["http://127.0.0.1:1/"]);
}

#[test]
fn a_part_of_another_file_is_thrown_away_once() {
    let server = Server::new(|_, range| Answer::Send(ranged(&body(), range)));
    for length in [1000, 400_000, 500_000] {
        let trial = Trial::new();
        fs::write(trial.part(), vec![7; length]).unwrap();
        trial.fetches(&[&server.url]);
        assert!(trial.log.has("rejected"));
    }
    // Longer than the file can be.
    let trial = Trial { file: PublishedFile { size: Some(400_000), ..published(&body()) }, ..Trial::new() };
    fs::write(trial.part(), vec![7; 400_001]).unwrap();
    trial.fetches(&[&server.url]);
}

#[test]
fn a_file_of_another_checksum_is_not_kept_and_the_next_mirror_is_asked() {
    let wrong = Server::new(|_, range| Answer::Send(ranged(b"<html>sign in to this network</html>", range)));
    let trial = Trial::new();
    let causes = trial.fails(&[&wrong.url]);
    let Sha256Of::File(expected) = trial.file.sha256 else { panic!() };
    assert!(causes.contains(&format!("expected sha256 {expected}")), "{causes}");
    assert!(!trial.part().exists());
    let right = Server::new(|_, range| Answer::Send(ranged(&body(), range)));
    trial.fetches(&[&wrong.url, &right.url]);
}

#[test]
fn a_file_that_is_not_there_is_asked_of_the_next_mirror() {
    let without = Server::new(|_, _| Answer::Send(response("404 Not Found", &[], b"")));
    let with = Server::new(|_, range| Answer::Send(ranged(&body(), range)));
    let trial = Trial::new();
    trial.fetches(&[&without.url, &with.url]);
    assert_eq!(without.requests().len(), 1);
    let trial = Trial::new();
    let causes = trial.fails(&[&without.url]);
    assert!(causes.contains("404") && causes.contains(&without.url), "{causes}");
}

#[test]
fn an_overloaded_server_is_asked_again() {
    let server = Server::new(|number, range| {
        Answer::Send(if number < 2 {
            response("503 Service Unavailable", &[], b"")
        } else {
            ranged(&body(), range)
        })
    });
    Trial::new().fetches(&[&server.url]);
    let server = Server::new(|_, _| Answer::Send(response("503 Service Unavailable", &[], b"")));
    let causes = Trial::new().fails(&[&server.url]);
    assert!(causes.contains("503") && causes.contains("tried 3 times"), "{causes}");
}

#[test]
fn a_server_that_nobody_reaches_is_asked_once() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/");
    // Without a network a name may be looked up for long.
    let trial = Trial { silence: Duration::from_secs(2), ..Trial::new() };
    let causes = trial.fails(&[&url, "http://no-such-host.invalid/"]);
    assert!(causes.contains("refused"), "{causes}");
    assert!(causes.contains(&format!("{url}{NAME}")), "{causes}");
    assert!(!causes.contains("tried"), "{causes}");
}

#[test]
fn a_server_that_falls_silent_is_not_waited_for_forever() {
    let server = Server::new(|number, range| {
        let answer = ranged(&body(), range);
        if number == 0 { Answer::Stall(cut(answer, 100_000)) } else { Answer::Send(answer) }
    });
    let impatient = || Trial { silence: Duration::from_millis(300), ..Trial::new() };
    let trial = impatient();
    let started = Instant::now();
    trial.fetches(&[&server.url]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(trial.log.has("retrying"));
    let mute = Server::new(|_, _| Answer::Stall(Vec::new()));
    let causes = impatient().fails(&[&mute.url]);
    assert!(causes.contains("tried 3 times"), "{causes}");
}

#[test]
fn a_server_that_breaks_off_each_time_is_left() {
    // It begins anew each time, so no attempt gets further than the first.
    let server = Server::new(|_, _| Answer::Send(cut(ok(&body()), 1000)));
    let causes = Trial::new().fails(&[&server.url]);
    assert!(causes.contains("tried 3 times"), "{causes}");
    assert!(server.requests().len() <= 4, "{}", server.requests().len());
}

#[test]
fn a_server_that_sends_another_part_is_not_believed() {
    let server = Server::new(|_, range| {
        let answer = match range {
            Some(_) => ranged(&body(), Some(5)),
            None => ok(&body()),
        };
        Answer::Send(answer)
    });
    let trial = Trial::new();
    fs::write(trial.part(), &body()[..1000]).unwrap();
    trial.fetches(&[&server.url]);
    assert!(trial.log.has("another part"));
}

#[test]
fn a_file_of_another_size_is_refused_before_or_while_it_arrives() {
    let trial = Trial { file: PublishedFile { size: Some(399_999), ..published(&body()) }, ..Trial::new() };
    let announced = Server::new(|_, _| Answer::Send(ok(&body())));
    let causes = trial.fails(&[&announced.url]);
    assert!(causes.contains("expected a file of 399999 bytes, the server has one of 400000"), "{causes}");
    assert_eq!(trial.log.received(), 0);
    let endless = Server::new(|_, _| Answer::Send(response("200 OK", &[], &body())));
    let causes = trial.fails(&[&endless.url]);
    assert!(causes.contains("more than the 399999 bytes"), "{causes}");
}

#[test]
fn a_file_without_a_stated_length_is_taken() {
    let server = Server::new(|_, _| Answer::Send(response("200 OK", &[], &body())));
    let trial = Trial::new();
    trial.fetches(&[&server.url]);
    assert!(trial.log.has(&format!("started {NAME} None 0")));
}

#[test]
fn one_process_waits_for_another() {
    let server = Server::new(|_, range| Answer::Send(ranged(&body(), range)));
    let trial = Trial::new();
    let other = File::create(trial.folder.path().join(".lock")).unwrap();
    other.lock().unwrap();
    let (done, over) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            trial.fetches(&[&server.url]);
            done.send(()).unwrap();
        });
        while !trial.log.has("waiting") {
            sleep(Duration::from_millis(1));
        }
        assert!(over.recv_timeout(Duration::from_millis(50)).is_err());
        other.unlock().unwrap();
        over.recv_timeout(Duration::from_secs(10)).unwrap();
    });
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_of_the_folder() {
    let place = tempfile::NamedTempFile::new().unwrap();
    let mut access = Access::none();
    let verified = |_: &Path| Ok(());
    let error = fetch(&published(&body()), &place.path().join("mnist"), &[], &mut access, &verified);
    assert!(matches!(error, Err(DataError::Unwritable { .. })), "{error:?}");
}
