use std::net::Ipv4Addr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::network::loopback::Loopback;
use crate::slot::Slot;

const PORT: u16 = 7443;

/// A Service with one port, and the listeners of a proxy that serves it.
struct Bed {
    slot: Slot,
    directory: Arc<Directory>,
    listeners: Listeners,
    connections: mpsc::Receiver<Connection>,
    key: Key,
}

impl Bed {
    fn new() -> Bed {
        let slot = Slot::claim().unwrap();
        let directory = Arc::new(Directory::new(Loopback::of(&slot)));
        let (accepted, connections) = mpsc::channel(ACCEPTED);
        let listeners =
            Listeners { directory: directory.clone(), accepted, open: HashMap::new(), tasks: JoinSet::new() };
        Bed { slot, directory, listeners, connections, key: ("n".into(), "s".into()) }
    }

    fn cluster_ip(&self) -> Ipv4Addr {
        self.slot.service_range().replace(".0.0/16", ".3.4").parse().unwrap()
    }

    fn serve(&mut self) {
        let service = Service {
            cluster_ips: vec![self.cluster_ip()],
            load_balancer_ips: vec![self.slot.load_balancer(5)],
            ports: vec![("web".into(), PORT)],
        };
        self.listeners.settle(&self.key.clone(), &service);
    }

    /// Declares endpoints as the endpoint slice controller does.
    fn endpoints(&self, pods: &[[u8; 4]]) {
        let endpoints: Vec<_> =
            pods.iter().map(|pod| json!({"addresses": [Ipv4Addr::from(*pod).to_string()]})).collect();
        self.directory.put_slice_json(json!({
            "metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "web", "port": 3080}],
        }));
    }

    /// A pod that answers every line with its own name in front.
    async fn pod(&self, pod: [u8; 4], name: &'static str) -> tokio::task::JoinHandle<()> {
        let listener = TcpListener::bind((self.slot.pod_loopback(pod.into()), 3080)).await.unwrap();
        tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                open.spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(name.as_bytes()).await.unwrap();
                        stream.write_all(&buffer[..count]).await.unwrap();
                    }
                });
            }
        })
    }

    /// Connects as a client of the Service does, while the proxy runs.
    async fn connect(&mut self, address: Ipv4Addr) -> TcpStream {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let client = loop {
            match TcpStream::connect((address, PORT)).await {
                Ok(client) => break client,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::task::yield_now().await;
        };
        let connection = self.connections.recv().await.unwrap();
        tokio::spawn(forward(connection));
        client
    }
}

async fn ask(client: &mut TcpStream) -> io::Result<String> {
    client.write_all(b"hello").await?;
    let mut buffer = [0; 64];
    let mut answer = String::new();
    while !answer.ends_with("hello") {
        match client.read(&mut buffer).await? {
            0 => break,
            count => answer.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
    }
    Ok(answer)
}

#[tokio::test]
async fn both_addresses_of_a_service_reach_every_endpoint() {
    let mut bed = Bed::new();
    bed.serve();
    bed.endpoints(&[[198, 18, 0, 2], [198, 18, 0, 3]]);
    let pods = [bed.pod([198, 18, 0, 2], "first ").await, bed.pod([198, 18, 0, 3], "second ").await];
    for address in [bed.cluster_ip(), bed.slot.load_balancer(5)] {
        let mut answers = Vec::new();
        for _ in 0..2 {
            answers.push(ask(&mut bed.connect(address).await).await.unwrap());
        }
        answers.sort();
        assert_eq!(answers, ["first hello", "second hello"]);
    }
    pods.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn without_an_endpoint_a_connection_is_reset() {
    let mut bed = Bed::new();
    bed.serve();
    let mut client = bed.connect(bed.cluster_ip()).await;
    let error = client.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    // An endpoint at whose address nobody listens is no better.
    bed.endpoints(&[[198, 18, 0, 9]]);
    let error = bed.connect(bed.cluster_ip()).await.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_established_connection_survives_its_endpoint_leaving_but_not_its_end() {
    let mut bed = Bed::new();
    bed.serve();
    bed.endpoints(&[[198, 18, 0, 2]]);
    let pod = bed.pod([198, 18, 0, 2], "first ").await;
    let mut client = bed.connect(bed.cluster_ip()).await;
    assert_eq!(ask(&mut client).await.unwrap(), "first hello");
    bed.endpoints(&[]);
    assert_eq!(ask(&mut client).await.unwrap(), "first hello");
    pod.abort();
    let ended = tokio::time::timeout(Duration::from_secs(10), client.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn a_service_that_goes_frees_its_addresses() {
    let mut bed = Bed::new();
    bed.serve();
    bed.connect(bed.cluster_ip()).await;
    bed.listeners.settle(&bed.key.clone(), &Service::default());
    while bed.listeners.tasks.join_next().await.is_some() {}
    let error = TcpStream::connect((bed.cluster_ip(), PORT)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(bed.listeners.open.is_empty());
}

#[tokio::test]
async fn an_occupied_address_is_taken_once_it_is_free() {
    let mut bed = Bed::new();
    let occupant = TcpListener::bind((bed.cluster_ip(), PORT)).await.unwrap();
    bed.serve();
    bed.endpoints(&[[198, 18, 0, 2]]);
    let pod = bed.pod([198, 18, 0, 2], "first ").await;
    // The proxy has met the occupant when its other address answers.
    assert_eq!(ask(&mut bed.connect(bed.slot.load_balancer(5)).await).await.unwrap(), "first hello");
    drop(occupant);
    assert_eq!(ask(&mut bed.connect(bed.cluster_ip()).await).await.unwrap(), "first hello");
    pod.abort();
}

#[test]
fn nothing_but_loopback_is_listened_on() {
    let service = Service {
        cluster_ips: vec![Ipv4Addr::new(10, 96, 0, 1)],
        load_balancer_ips: vec![Ipv4Addr::new(192, 0, 2, 1)],
        ports: vec![("web".into(), PORT)],
    };
    assert_eq!(sockets(&service), []);
}
