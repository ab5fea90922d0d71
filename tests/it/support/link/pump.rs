//! Forwards, changes or drops the bytes of one connection, each direction separately.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::timeout,
};

use super::{
    Wire, changed,
    frames::{Answers, Frames},
    modes::{Mode, Modes, Way},
    names::{Login, Name},
};

/// The beginning of the frame `connection.tune`. The largest channel number follows.
const TUNE: &[u8] = b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1e";

/// Forwards both directions, until both have ended or one has failed.
pub(super) async fn exchange(
    client: &mut TcpStream,
    broker: &mut TcpStream,
    wire: &Wire,
    name: &Name,
) -> io::Result<()> {
    let Wire { modes, answers, .. } = wire;
    let (from_client, to_client) = client.split();
    let (from_broker, to_broker) = broker.split();
    let login = Some(Login::default());
    let there = Pump {
        from: from_client,
        to: to_broker,
        way: Way::ToBroker,
        modes: modes.clone(),
        name,
        login,
        frames: Frames::of(answers),
        answers,
    };
    let back = Pump {
        from: from_broker,
        to: to_client,
        way: Way::ToClient,
        modes: modes.clone(),
        name,
        login: None,
        frames: None,
        answers,
    };
    tokio::try_join!(there.run(), back.run()).map(|_| ())
}

/// One direction of one connection.
struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    way: Way,
    modes: watch::Receiver<Modes>,
    name: &'a Name,
    /// Set for the direction in which the client sends its name.
    login: Option<Login>,
    /// Set for the same direction, if the link keeps answers.
    frames: Option<Frames>,
    answers: &'a Answers,
}

impl Pump<'_> {
    fn mode(&mut self) -> Mode {
        self.modes.borrow_and_update().of(self.name.get())
    }

    async fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match self.mode() {
                Mode::HalfClose(way) if way.covers(self.way) => break,
                Mode::Stall(way) if way.covers(self.way) => changed(&mut self.modes).await,
                _ => tokio::select! {
                    biased;
                    () = changed(&mut self.modes) => {}
                    read = self.from.read(&mut buffer) => match read? {
                        0 => break,
                        count => self.handle(&buffer[..count]).await?,
                    },
                },
            }
        }
        self.to.shutdown().await
    }

    async fn handle(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(frames) = &mut self.frames {
            frames.read(bytes, self.answers);
        }
        if let Some(login) = &mut self.login {
            let was_known = self.name.get().is_some();
            login.read(bytes, self.name);
            let told = self.name.get().filter(|_| !was_known);
            let own = told.and_then(|name| self.modes.borrow().of_name(name));
            if own == Some(Mode::Refuse) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
        }
        self.forward(bytes).await
    }

    async fn forward(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut mode = self.mode();
        // The mode may have changed while the bytes were read, because the connection's name became known.
        while matches!(mode, Mode::Stall(way) if way.covers(self.way)) {
            changed(&mut self.modes).await;
            mode = self.mode();
        }
        match mode {
            Mode::BlackHole(way) if way.covers(self.way) => return Ok(()),
            // Ends early when the mode changes.
            Mode::Delay(delay) => drop(timeout(delay, changed(&mut self.modes)).await),
            Mode::Slice => return self.slice(bytes).await,
            Mode::Channels(count) => return self.to.write_all(&with_channels(bytes, count)).await,
            _ => {}
        }
        self.to.write_all(bytes).await
    }

    async fn slice(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.to.write_all(&[*byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

fn with_channels(bytes: &[u8], count: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(start) = bytes.windows(TUNE.len()).position(|window| window == TUNE) {
        bytes[start + TUNE.len()..][..2].copy_from_slice(&count.to_be_bytes());
    }
    bytes
}
