use crate::http::Node;
use crate::stand::Stand;
use std::sync::Arc;
use tokio::net::TcpStream;
pub async fn serve(_stand: Arc<Stand>, _fe: usize, _stream: TcpStream, _node: Node) {}
