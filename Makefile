.DEFAULT_GOAL := help
.PHONY: help run test test-cluster test-arguments test-schema test-ui bench bench-quick lint image

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: ## Run the gateway, with a private RabbitMQ unless AMQP_URL names one
	@scripts/run

test: ## Run all tests, against a RabbitMQ of their own
	@scripts/test

test-cluster: ## Break the nodes of a cluster of three, for some ten minutes
	@scripts/test-cluster

test-arguments: ## Declare queues with every argument, value and type, for some minutes
	@scripts/test-arguments

test-schema: ## Make thousands of requests of the contract by schemathesis, for some minutes
	@scripts/test-schema

test-ui: ## Try Swagger UI in a headless Chromium, against a RabbitMQ of its own
	@scripts/test-ui

bench: ## Measure the gateway, AMQP directly and its peers; the results go into benches, docs/benchmark.md and the README
	@scripts/bench --out benches

bench-quick: ## Measure what has a bound on speed or cost, in three minutes
	@scripts/bench --quick

lint: ## Check format, lints, docs, dependencies, scripts and the contract
	@scripts/lint

image: ## Build the container image and try it, against a RabbitMQ of its own
	@scripts/image
