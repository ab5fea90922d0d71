.DEFAULT_GOAL := help
.PHONY: help run test test-rabbitmq4 test-cluster test-arguments test-oauth2 test-exactness test-consume-chaos test-fair-share test-fuzz test-schema test-ui bench bench-quick bench-access bench-keys lint image

help: ## List the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: ## Run the gateway, with a private RabbitMQ unless you give AMQP_URL
	@scripts/run

test: ## Run all tests, against RabbitMQ nodes that they start
	@scripts/test

test-rabbitmq4: ## Install RabbitMQ 4.0 below target, and run all tests on it
	@scripts/test-rabbitmq4

test-cluster: ## Test faults in a cluster of three nodes, about ten minutes
	@scripts/test-cluster

test-arguments: ## Declare queues with every argument, value and type, some minutes
	@scripts/test-arguments

test-oauth2: ## Compare 10,000 permissions with RabbitMQ's plugin for OAuth 2, a minute
	@scripts/test-oauth2

test-exactness: ## Compare a million answers with the queues through kills of RabbitMQ, about ten minutes
	@scripts/test-exactness

test-consume-chaos: ## Compare what 200 workers know with the queues, through kills of RabbitMQ and of replicas, ten minutes
	@scripts/test-consume-chaos

test-fair-share: ## Measure the publishes of a small principal beside twenty greedy ones, a minute
	@scripts/test-fair-share

test-fuzz: ## Give random texts to the readers of API keys, patterns and principals, 40 minutes
	@scripts/test-fuzz

test-schema: ## Generate thousands of requests from the contract with schemathesis, some minutes
	@scripts/test-schema

test-ui: ## Test Swagger UI in a headless Chromium, against a RabbitMQ that it starts
	@scripts/test-ui

bench: ## Measure the gateway, AMQP directly and the peers; write the results to benches, docs/benchmark.md and the README
	@scripts/bench --out benches

bench-quick: ## Measure the workloads that have a bound on speed or cost, five minutes
	@scripts/bench --quick

bench-access: ## Measure an API key and a permission check, some seconds after the build
	@cargo bench --locked --bench access

bench-keys: ## Measure publishes with and without API keys by turns, twenty times, nine minutes after the builds
	@scripts/bench --only keys --rounds 20 --seconds 10

lint: ## Check format, lints, docs, dependencies, scripts and the contract
	@scripts/lint

image: ## Build the container image and test it, against a RabbitMQ that it starts
	@scripts/image
