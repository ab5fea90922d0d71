//! `Stage`: a vhost of one test, with the gateway and an observer.

use reqwest::{Method, RequestBuilder};

use super::{
    broker::{Broker, Vhost},
    contract::Answer,
    gateway::TestGateway,
    link::Link,
    observer::Observer,
};

pub struct Stage {
    pub vhost: Vhost<'static>,
    pub gateway: TestGateway,
    pub observer: Observer,
}

impl Stage {
    /// With default settings, on the RabbitMQ of the test run.
    pub async fn set(name: &str) -> Self {
        Self::set_with(name, &[]).await
    }

    /// With further settings.
    pub async fn set_with(name: &str, settings: &[(&str, &str)]) -> Self {
        let vhost = Broker::shared().await.vhost(name).await;
        let observer = Observer::connect(&vhost.url).await;
        let gateway = gateway(&vhost.url, settings).await;
        Self { vhost, gateway, observer }
    }

    /// The same with one durable queue called `q`.
    pub async fn with_queue(name: &str) -> Self {
        let stage = Self::set(name).await;
        stage.observer.declare_queue("q").await;
        stage
    }

    /// Another gateway on the same vhost, whose user has these permissions and no others.
    pub async fn gateway_as(&self, user: &str, configure: &str, write: &str, read: &str) -> TestGateway {
        Broker::shared().await.add_user(user, "secret").await;
        self.vhost.permit(user, configure, write, read).await;
        gateway(&self.vhost.url_as(user, "secret"), &[]).await
    }

    /// A request to the default exchange with routing key `q`, an octet stream without a body yet.
    pub fn publish(&self) -> RequestBuilder {
        self.post("/publish/amq.default?routing_key=q").header("content-type", "application/octet-stream")
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.gateway.post(path)
    }

    /// A request without a body.
    pub async fn ask(&self, method: Method, path: &str) -> Answer {
        Answer::to(self.gateway.client().request(method, self.gateway.url(path))).await
    }

    /// `PUT /queues/…` with this body.
    pub async fn declare(&self, path: &str, json: &str) -> Answer {
        let request = self.gateway.put(path).header("content-type", "application/json");
        Answer::to(request.body(json.to_owned())).await
    }
}

async fn gateway(url: &str, settings: &[(&str, &str)]) -> TestGateway {
    let mut all = vec![("AMQP_URL", url)];
    all.extend_from_slice(settings);
    TestGateway::start(&all).await
}

/// A vhost with a queue `q`, and a link to it; the URL is that of the link.
pub async fn linked<'a>(name: &str) -> (Vhost<'a>, Observer, Link, String) {
    let broker = Broker::shared().await;
    let vhost = broker.vhost(name).await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    let link = Link::to(broker.address()).await;
    let url = vhost.url_by(link.addr());
    (vhost, observer, link, url)
}

/// The same with a gateway behind the link.
pub async fn wired<'a>(name: &str, settings: &[(&str, &str)]) -> (Vhost<'a>, Observer, Link, TestGateway) {
    let (vhost, observer, link, url) = linked(name).await;
    let gateway = gateway(&url, settings).await;
    (vhost, observer, link, gateway)
}
