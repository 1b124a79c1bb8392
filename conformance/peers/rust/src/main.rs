//! One session of rust-yamux, driven by the first line of every stream. conformance/go/cmd/linepeer has the lines;
//! `-split=N` is the largest frame it sends. It can neither ping nor reset by call: a dropped stream is a reset.

use futures::future::{pending, poll_fn};
use futures::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use std::io;
use std::task::Poll;
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::TokioAsyncReadCompatExt;
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

const PATTERN_PERIOD: usize = 251;

/// What a task asks of the one that drives the connection.
enum Ask {
    Open(oneshot::Sender<Result<Stream, String>>),
    Leave,
}

fn pattern(offset: usize, size: usize) -> Vec<u8> {
    (offset..offset + size).map(|at| (at % PATTERN_PERIOD) as u8).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut config = Config::default();
    let mut mode = Mode::Server;
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("-role", "client")) => mode = Mode::Client,
            Some(("-role", "server")) => mode = Mode::Server,
            Some(("-split", size)) => {
                config.set_split_send_size(size.parse().expect("a number"));
            }
            _ => panic!("unknown argument {argument}"),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("listening {}", listener.local_addr().expect("an address"));
    let (socket, _) = listener.accept().await.expect("a connection");
    // The crate writes header and body apart: with Nagle's algorithm each small frame would wait for a delayed ACK.
    socket.set_nodelay(true).expect("an option");
    let reason = drive(Connection::new(socket.compat(), config, mode)).await;
    println!("session-closed {reason}");
}

/// Runs the connection: one task does all its reading and writing.
async fn drive<T: AsyncRead + futures::io::AsyncWrite + Unpin>(mut connection: Connection<T>) -> String {
    enum Step {
        Inbound(Option<Result<Stream, ConnectionError>>),
        Outbound(Result<Stream, ConnectionError>),
        Left,
    }
    let (ask, mut asked) = mpsc::unbounded_channel();
    let mut waiting = None;
    loop {
        let step = poll_fn(|cx| {
            if waiting.is_none() {
                if let Poll::Ready(Some(next)) = asked.poll_recv(cx) {
                    waiting = Some(next);
                }
            }
            match waiting {
                Some(Ask::Leave) => return connection.poll_close(cx).map(|_| Step::Left),
                Some(Ask::Open(_)) => {
                    if let Poll::Ready(result) = connection.poll_new_outbound(cx) {
                        return Poll::Ready(Step::Outbound(result));
                    }
                }
                None => {}
            }
            connection.poll_next_inbound(cx).map(Step::Inbound)
        })
        .await;
        match step {
            Step::Left => return "here".into(),
            Step::Inbound(None) => return "by the other side".into(),
            Step::Inbound(Some(Err(error))) => return error.to_string(),
            Step::Inbound(Some(Ok(stream))) => {
                tokio::spawn(serve(stream, ask.clone()));
            }
            Step::Outbound(result) => {
                if let Some(Ask::Open(answer)) = waiting.take() {
                    let _ = answer.send(result.map_err(|error| error.to_string()));
                }
            }
        }
    }
}

async fn serve(stream: Stream, ask: mpsc::UnboundedSender<Ask>) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read);
    let mut line = String::new();
    if lines.read_line(&mut line).await.is_err() {
        return;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |i: usize| words.get(i).and_then(|word| word.parse().ok()).unwrap_or(0);
    let served: io::Result<()> = async {
        match words.first().copied().unwrap_or("") {
            "echo" => {
                futures::io::copy(&mut lines, &mut write).await?;
            }
            "count" => {
                let (length, bad) = count(&mut lines).await?;
                write.write_all(format!("{length} {bad}\n").as_bytes()).await?;
            }
            "send" => write.write_all(&pattern(0, number(1))).await?,
            "drip" => {
                for offset in 0..number(1) {
                    write.write_all(&pattern(offset, 1)).await?;
                    write.flush().await?;
                }
            }
            "open" => {
                let text = burst(&ask, number(1), number(2)).await;
                write.write_all(format!("{text}\n").as_bytes()).await?;
            }
            "ping" => write.write_all(b"ok\n").await?,
            "hold" => pending::<()>().await,
            "leave" => {
                let _ = ask.send(Ask::Leave);
                pending::<()>().await;
            }
            _ => return Err(io::Error::other("reset")),
        }
        write.close().await?;
        // A stream dropped before the other side has ended would be a reset.
        lines.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }
    .await;
    if let Err(error) = served {
        println!("stream-failed {line:?} {error}");
    }
}

/// Reads to the end: the length, and the first offset off the pattern or -1.
async fn count<R: AsyncRead + Unpin>(source: &mut R) -> io::Result<(usize, i64)> {
    let (mut length, mut bad) = (0, -1);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let size = source.read(&mut buffer).await?;
        if size == 0 {
            return Ok((length, bad));
        }
        for (at, byte) in (length..).zip(&buffer[..size]) {
            if bad < 0 && *byte != (at % PATTERN_PERIOD) as u8 {
                bad = at as i64;
            }
        }
        length += size;
    }
}

async fn burst(ask: &mpsc::UnboundedSender<Ask>, streams: usize, size: usize) -> String {
    let trips: Vec<_> = (0..streams).map(|_| tokio::spawn(round_trip(ask.clone(), size))).collect();
    for trip in trips {
        match trip.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(error) => return error.to_string(),
        }
    }
    format!("ok {streams}")
}

async fn round_trip(ask: mpsc::UnboundedSender<Ask>, size: usize) -> Result<(), String> {
    let (answer, opened) = oneshot::channel();
    ask.send(Ask::Open(answer)).map_err(|error| error.to_string())?;
    let stream = opened.await.map_err(|error| error.to_string())??;
    let (mut read, mut write) = stream.split();
    let sending = async {
        write.write_all(&pattern(0, size)).await?;
        write.close().await
    };
    let (sent, got) = futures::join!(sending, count(&mut read));
    sent.map_err(|error| error.to_string())?;
    match got.map_err(|error| error.to_string())? {
        (length, -1) if length == size => Ok(()),
        (length, bad) => Err(format!("{length} of {size} bytes came back, first wrong one at {bad}")),
    }
}
